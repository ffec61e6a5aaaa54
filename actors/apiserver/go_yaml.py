"""YAML bodies: read with PyYAML, with the lines of duplicate keys, and errors in go-yaml's words."""

from typing import Any

import yaml


class YamlError(ValueError):
    """The document cannot be read."""


class _Loader(yaml.SafeLoader):
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


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(data: bytes) -> tuple[Any, list[str]]:
    """The first document, and what to say of duplicate keys. Raises YamlError."""
    loader = None
    try:
        loader = _Loader(data)
        loader.duplicates = []
        if not loader.check_data():  # type: ignore[no-untyped-call]
            return None, []
        return _string_keys(loader.get_data()), loader.duplicates
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1 if mark.column else mark.line}: " if mark is not None else ""
        raise YamlError(f"yaml: {where}{in_go_words(error.problem or error.context or '')}") from None
    except yaml.YAMLError as error:
        raise YamlError(f"yaml: {error}") from None
    except (RecursionError, ValueError) as error:
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


def _string_keys(value: Any) -> Any:
    """JSON's keys are strings: numbers and booleans are written out, as the API's YAML reader does."""
    if isinstance(value, dict):
        return {_key(key): _string_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_string_keys(item) for item in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    return str(key)
