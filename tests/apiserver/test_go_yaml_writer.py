"""YAML in the API server's own manner of writing."""

import pytest
import yaml

from kubeloop.actors.apiserver.go_yaml_writer import dump


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", 'a: ""\n'),
        ("true", 'a: "true"\n'),
        ("y", 'a: "y"\n'),
        ("1", 'a: "1"\n'),
        ("1.5e3", 'a: "1.5e3"\n'),
        ("null", 'a: "null"\n'),
        ("2026-01-02T03:04:05Z", 'a: "2026-01-02T03:04:05Z"\n'),
        ("plain text", "a: plain text\n"),
        ("a: b", "a: 'a: b'\n"),
        ("one\ntwo\n", "a: |\n  one\n  two\n"),
        ("é", "a: é\n"),
        ([1, {"b": 2}], "a:\n- 1\n- b: 2\n"),
        (True, "a: true\n"),
        (None, "a: null\n"),
        ([], "a: []\n"),
    ],
)
def test_text_that_reads_as_something_else_is_in_double_quotes(value: object, written: str) -> None:
    assert dump({"a": value}).decode() == written
    assert yaml.safe_load(dump({"a": value})) == {"a": value}
