"""YAML bodies: read with PyYAML, with the lines of duplicate keys, and errors in go-yaml's words."""

import math
import re
from typing import Any

import yaml

from kubeloop.actors.apiserver import limits

_SURROGATE = re.compile("[\ud800-\udfff]")


class YamlError(ValueError):
    """The document cannot be read."""


class _Reading(yaml.constructor.SafeConstructor):
    """Keeps timestamps as text and notes the lines of keys given twice."""

    duplicates: list[str]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                    line = key_node.start_mark.line + 1
                    self.duplicates.append(f'line {line}: key "{key_node.value}" already set in map')
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and _SURROGATE.search(value):  # written as \\ud83d\\ude00, as JSON may
            where = f"line {node.start_mark.line + 1}: " if node.start_mark.line else ""
            raise YamlError(f"yaml: {where}found invalid Unicode character escape code")
        return value

    def construct_text_of_binary(self, node: Any) -> str:
        return bytes(self.construct_yaml_binary(node)).decode("utf-8", "replace")


class _Loader(_Reading, yaml.SafeLoader):
    """Its errors are put in go-yaml's words."""


class _FastLoader(_Reading, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml, twenty times as fast, where PyYAML has it."""


_LOADERS: tuple[Any, ...] = (_Loader, _FastLoader)
for _loader in _LOADERS:
    # What has no form in JSON is taken as what it is written with, as go-yaml does.
    _loader.add_constructor("tag:yaml.org,2002:binary", _loader.construct_text_of_binary)
    _loader.add_constructor("tag:yaml.org,2002:timestamp", _loader.construct_yaml_str)
    _loader.add_constructor("tag:yaml.org,2002:value", _loader.construct_yaml_str)
    _loader.add_constructor("tag:yaml.org,2002:set", _loader.construct_yaml_map)
    _loader.add_constructor("tag:yaml.org,2002:omap", _loader.construct_yaml_seq)
    _loader.add_constructor("tag:yaml.org,2002:pairs", _loader.construct_yaml_seq)
    _loader.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(data: bytes) -> tuple[Any, list[str]]:
    """The first document, and what to say of duplicate keys. Raises YamlError."""
    try:
        return _load(data, _FastLoader)
    except YamlError:
        if len(data) > limits.yaml_error_bytes_max:
            raise
    return _load(data, _Loader)


def _load(data: bytes, of: Any) -> tuple[Any, list[str]]:
    loader = None
    try:
        loader = of(data)
        loader.duplicates = []
        if not loader.check_data():
            return None, []
        return _Json().of(loader.get_data(), aliased=False), loader.duplicates
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1 if mark.column else mark.line}: " if mark is not None else ""
        raise YamlError(f"yaml: {where}{in_go_words(error.problem or error.context or '')}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"yaml: {error}") from None
    except YamlError:
        raise
    except (RecursionError, ValueError, LookupError, OverflowError) as error:  # of PyYAML's constructors
        raise YamlError(f"yaml: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def in_go_words(problem: str) -> str:
    """PyYAML's message as go-yaml has it; both descend from libyaml and differ in little."""
    wanted, found, _ = problem.partition(", but ")
    if found and wanted.startswith("expected "):
        return f"did not find {wanted}".replace("<block end>", "key")
    return problem


class _Json:
    """YAML's values as JSON's. Keys become texts: numbers and booleans are written out, as the API's YAML reader does.

    Aliases are written out too; where they make a document many times as large as it is, that is refused as by go-yaml.
    """

    def __init__(self) -> None:
        self.count = self.aliased = 0
        self.seen: set[int] = set()

    def of(self, value: Any, *, aliased: bool) -> Any:
        if isinstance(value, (dict, list)):
            aliased = aliased or id(value) in self.seen
            self.seen.add(id(value))
        self.count += 1
        self.aliased += aliased
        if self.aliased > 100 and self.count > 1000 and self.aliased / self.count > aliases_allowed(self.count):
            raise YamlError("yaml: document contains excessive aliasing")
        if isinstance(value, dict):
            return {_key(key): self.of(item, aliased=aliased) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, aliased=aliased) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            text = "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
            raise YamlError(f"json: unsupported value: {text}")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            return float(value)  # as go-yaml takes it; OverflowError where that is none
        return value


def aliases_allowed(count: int) -> float:
    """The share of a document of so many values that aliases may be: nearly all of a small one, little of a large."""
    return 0.99 - 0.89 * min(1.0, max(0.0, (count - 400_000) / 3_600_000))


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    return str(key)
