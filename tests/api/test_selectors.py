import pytest

from kubeloop.actors.api import selectors
from kubeloop.actors.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from kubeloop.actors.api.selectors import SelectorError

NAME = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {}, False),
        ("a notin (b,c)", {}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("!a", {"a": "x"}, False),
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "4"}, False),
        ("a>3", {"a": "many"}, False),
        ("a=", {"a": ""}, True),
        ("a=b,c=d", {"a": "b"}, False),
        ("example.com/a=b, c in (d),!e", {"example.com/a": "b", "c": "d"}, True),
        ("in=notin", {"in": "notin"}, True),
    ],
)
def test_label_selectors_match_labels(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.parse_label_selector(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("c in (z,a),b!=x,a", "a,b!=x,c in (a,z)"),
        ("!a,b==c", "!a,b==c"),
        ("a>1", "a>1"),
        ("a in (,b)", "a in (,b)"),
    ],
)
def test_a_selector_is_shown_by_key(text: str, shown: str) -> None:
    assert str(selectors.parse_label_selector(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tier in web", "unable to parse requirement: found 'web' expected: '('"),
        (
            "tier within (web)",
            "unable to parse requirement: found 'within', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("-bad", f'unable to parse requirement: <nil>: Invalid value: "-bad": {NAME}'),
        ("a=has space", "found 'space', expected: ',' or 'end of string'"),
        ("a=bad/value", f'unable to parse requirement: values[0][a]: Invalid value: "bad/value": {VALUE}'),
        (
            "a>word",
            "unable to parse requirement: values[0]: Invalid value: \"word\": for 'Gt', 'Lt' operators, the value must "
            "be an integer",
        ),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("(", "found '(', expected: !, identifier, or 'end of string'"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
    ],
)
def test_what_cannot_be_parsed_is_told_in_apimachinerys_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as error:
        selectors.parse_label_selector(text)
    assert str(error.value) == message


def test_selectors_of_objects() -> None:
    assert selectors.from_label_selector(None) is selectors.NOTHING
    assert not selectors.NOTHING.matches({}) and not selectors.NOTHING.empty
    assert selectors.from_label_selector(LabelSelector()) is selectors.EVERYTHING
    assert selectors.EVERYTHING.matches({"a": "b"}) and selectors.EVERYTHING.empty
    expressions = (LabelSelectorRequirement(key="tier", operator="NotIn", values=("x", "y")),)
    typed = selectors.from_label_selector(LabelSelector(match_labels={"app": "web"}, match_expressions=expressions))
    untyped = selectors.from_label_selector(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x", "y"]}],
        }
    )
    assert typed == untyped and hash(typed) == hash(untyped) and str(typed) == "app=web,tier notin (x,y)"
    assert typed.matches({"app": "web"}) and not typed.matches({"app": "web", "tier": "y"})
    assert str(selectors.from_labels({"b": "2", "a": "1"})) == "a=1,b=2"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"key": "a", "operator": "Near"}, '"Near" is not a valid label selector operator'),
        (
            {"key": "a", "operator": "In"},
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            {"key": "a", "operator": "Exists", "values": ["b"]},
            'values: Invalid value: ["b"]: values set must be empty for exists and does not exist',
        ),
    ],
)
def test_wrong_expressions(expression: dict[str, object], message: str) -> None:
    with pytest.raises(SelectorError) as error:
        selectors.from_label_selector({"matchExpressions": [expression]})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("metadata.name=a", [("metadata.name", "=", "a")]),
        ("status.phase!=Running,spec.nodeName==", [("status.phase", "!=", "Running"), ("spec.nodeName", "=", "")]),
        (r"a=b\,c,d=e\=f", [("a", "=", "b,c"), ("d", "=", "e=f")]),
    ],
)
def test_field_selectors(text: str, expected: list[tuple[str, str, str]]) -> None:
    found = selectors.parse_field_selector(text)
    assert [(each.field, each.operator, each.value) for each in found] == expected


def test_a_field_selector_without_operator_cannot_be_parsed() -> None:
    with pytest.raises(SelectorError, match="invalid selector: 'a,b=c'; can't understand 'a'"):
        selectors.parse_field_selector("a,b=c")
