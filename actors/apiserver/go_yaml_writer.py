"""YAML as the API server writes it: text that reads as something else in double quotes, lines as a block.

go-yaml's habits, for clients that compare text: keys sorted, lists not indented.
"""

import re
from functools import lru_cache
from typing import Any

STRING_TAG = "tag:yaml.org,2002:str"
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")  # also without the sign PyYAML wants
ALSO_BOOLEAN = frozenset(("y", "Y", "n", "N"))  # by go-yaml, not by PyYAML


@lru_cache(1)
def _dumper() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, where it is there

    class Dumper(base):  # type: ignore[misc]
        pass

    def represent(dumper: Any, text: str) -> Any:
        style = None
        if "\n" in text:
            style = "|"
        elif (
            not text
            or text in ALSO_BOOLEAN
            or NUMBER.match(text)
            or dumper.resolve(yaml.ScalarNode, text, (True, False)) != STRING_TAG
        ):
            style = '"'
        return dumper.represent_scalar(STRING_TAG, text, style=style)

    Dumper.add_representer(str, represent)
    return Dumper


def dump(document: Any) -> bytes:
    import yaml

    text: str = yaml.dump(document, Dumper=_dumper(), sort_keys=True, default_flow_style=False, allow_unicode=True)
    return text.encode()
