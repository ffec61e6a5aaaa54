"""What a label's key and value may be (apimachinery's qualified names)."""

import re

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CHARACTERS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_EXAMPLES = (
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE = (
    f"a valid label must be an empty string or {_CHARACTERS.removeprefix('must ')} "
    "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_PREFIX = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_BYTES_MAX = 63
PREFIX_BYTES_MAX = 253


def key_problem(key: str) -> str:
    """What is wrong with a label's key (PREFIX/NAME or NAME), joined by "; "; empty when it is right."""
    wrong: list[str] = []
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return (
            f"a qualified name {_CHARACTERS}{_EXAMPLES} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
    if slash and not prefix:
        wrong.append("prefix part must be non-empty")
    elif slash:
        if len(prefix) > PREFIX_BYTES_MAX:
            wrong.append(f"prefix part must be no more than {PREFIX_BYTES_MAX} bytes")
        if not _SUBDOMAIN.fullmatch(prefix):
            wrong.append(f"prefix part {_PREFIX}")
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > NAME_BYTES_MAX:
        wrong.append(f"name part must be no more than {NAME_BYTES_MAX} bytes")
    if not _NAME.fullmatch(name):
        wrong.append(f"name part {_CHARACTERS}{_EXAMPLES}")
    return "; ".join(wrong)


def value_problem(value: str) -> str:
    """What is wrong with a label's value; empty when it is right."""
    wrong: list[str] = []
    if len(value) > NAME_BYTES_MAX:
        wrong.append(f"must be no more than {NAME_BYTES_MAX} bytes")
    if value and not _NAME.fullmatch(value):
        wrong.append(_VALUE)
    return "; ".join(wrong)
