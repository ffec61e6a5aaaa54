"""Rules for names, label keys and values, and their messages.

As the pages "Object Names and IDs" and "Labels and Selectors" state them. Each rule takes a string and returns the
messages of what is wrong with it (empty: nothing). Results are cached: the same few names are checked over and over.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

Messages = tuple[str, ...]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_UNDERSCORE_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_DNS_UNDERSCORE = re.compile(rf"{_UNDERSCORE_LABEL}(\.{_UNDERSCORE_LABEL})*\Z")
_WILDCARD_DNS = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
_PERCENT = re.compile(r"[0-9]+%\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_HTTP_HEADER = re.compile(r"[-A-Za-z0-9]+\Z")
_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")

DNS_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
DNS_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
DNS_UNDERSCORE_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    rf"'{_UNDERSCORE_LABEL}(\.{_UNDERSCORE_LABEL})*')"
)
WILDCARD_MESSAGE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    r"regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_BODY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
PERCENT_MESSAGE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


@lru_cache(16384)
def dns_subdomain(name: str) -> Messages:
    if len(name) <= 253:
        return () if _DNS_SUBDOMAIN.match(name) else (DNS_SUBDOMAIN_MESSAGE,)
    too_long = "must be no more than 253 characters"
    return (too_long,) if _DNS_SUBDOMAIN.match(name) else (too_long, DNS_SUBDOMAIN_MESSAGE)


@lru_cache(16384)
def dns_label(name: str) -> Messages:
    wrong = []
    if len(name) > 63:
        wrong.append("must be no more than 63 characters")
    if not _DNS_LABEL.match(name):
        wrong.append("must not contain dots" if _DNS_SUBDOMAIN.match(name) else DNS_LABEL_MESSAGE)
    return tuple(wrong)


@lru_cache(4096)
def dns_1035_label(name: str) -> Messages:
    wrong = []
    if len(name) > 63:
        wrong.append("must be no more than 63 characters")
    if not _DNS_1035.match(name):
        wrong.append(DNS_1035_MESSAGE)
    return tuple(wrong)


@lru_cache(4096)
def dns_subdomain_underscore(name: str) -> Messages:
    """A DNS name in which labels may hold and begin with underscores: search paths."""
    found: Messages = ()
    if len(name) > 253:
        found = ("must be no more than 253 bytes",)
    return found if _DNS_UNDERSCORE.match(name) else (*found, DNS_UNDERSCORE_MESSAGE)


def wildcard_dns_subdomain(name: str) -> Messages:
    return () if _WILDCARD_DNS.match(name) else (WILDCARD_MESSAGE,)


@lru_cache(4096)
def path_segment(name: str) -> Messages:
    """RBAC names: anything that fits into one URL path segment."""
    if name in (".", ".."):
        return (f"may not be '{name}'",)
    return tuple(f"may not contain '{character}'" for character in "/%" if character in name)


@lru_cache(16384)
def qualified_name(key: str) -> Messages:
    """A label or annotation key, a resource name: [prefix/]name."""
    prefix, slash, name = key.partition("/")
    if not slash:
        name = prefix
    elif "/" in name:
        return (
            f"a valid label key {_QUALIFIED_BODY} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    wrong = []
    if slash:
        if not prefix:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += [f"prefix part {message}" for message in dns_subdomain(prefix)]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.match(name):
        wrong.append(f"name part {_QUALIFIED_BODY}")
    return tuple(wrong)


@lru_cache(16384)
def label_value(value: str) -> Messages:
    wrong = []
    if len(value) > 63:
        wrong.append("must be no more than 63 bytes")
    if not _LABEL_VALUE.match(value):
        wrong.append(LABEL_VALUE_MESSAGE)
    return tuple(wrong)


@lru_cache(4096)
def config_map_key(key: str) -> Messages:
    wrong = []
    if len(key) > 253:
        wrong.append("must be no more than 253 characters")
    if not _CONFIG_KEY.match(key):
        wrong.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    if key == ".":
        wrong.append("must not be '.'")
    elif key == "..":
        wrong.append("must not be '..'")
    elif key.startswith(".."):
        wrong.append("must not start with '..'")
    return tuple(wrong)


@lru_cache(4096)
def environment_name(name: str) -> Messages:
    if _ENV_NAME.match(name):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


@lru_cache(4096)
def port_name(name: str) -> Messages:
    """An IANA service name, as container port names and named target ports are."""
    wrong = []
    if len(name) > 15:
        wrong.append("must be no more than 15 characters")
    if not _PORT_NAME.match(name):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in name):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in name:
        wrong.append("must not contain consecutive hyphens")
    if name[:1] == "-" or name[-1:] == "-":
        wrong.append("must not begin or end with a hyphen")
    return tuple(wrong)


@lru_cache(4096)
def http_header_name(name: str) -> Messages:
    if _HTTP_HEADER.match(name):
        return ()
    return (
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
        "validation is '[-A-Za-z0-9]+')",
    )


@lru_cache(4096)
def ip_address(text: str) -> Messages:
    return () if parse_ip(text) is not None else (IP_MESSAGE,)


@lru_cache(4096)
def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def percent(text: str) -> Messages:
    return () if _PERCENT.match(text) else (PERCENT_MESSAGE,)


def domain_prefixed_path(text: str) -> Messages:
    """example.com/foo/bar: a subdomain, a slash, and a path."""
    host, slash, rest = text.partition("/")
    if not slash or not host or not rest:
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    wrong = dns_subdomain(host)
    if not _HTTP_PATH.match(rest):
        wrong = (
            *wrong,
            "must be a valid URL path",
        )
    return wrong


def fully_qualified_domain(text: str) -> Messages:
    """A domain of at least three segments (webhook names)."""
    wrong = dns_subdomain(text)
    if wrong:
        return wrong
    if text.count(".") < 2:
        return ("should be a domain with at least three segments separated by dots",)
    return ()


# Of objects' own names, which are new nearly every time: not remembered.
NAME_RULES: Mapping[str, Callable[[str], Messages]] = {
    "dns_subdomain": dns_subdomain.__wrapped__,
    "dns_label": dns_label.__wrapped__,
    "dns_1035_label": dns_1035_label.__wrapped__,
    "path_segment": path_segment.__wrapped__,
}
