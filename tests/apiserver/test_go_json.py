import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeloop.actors.apiserver.go_json import syntax_error


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"metadata": {"name": "a"', "unexpected end of JSON input"),
        (b"plain text", "invalid character 'p' looking for beginning of value"),
        (b'{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a": 1} {"b": 2}', "invalid character '{' after top-level value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"nul", "unexpected end of JSON input"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b"-a", "invalid character 'a' in numeric literal"),
        (b"1.a", "invalid character 'a' after decimal point in numeric literal"),
        (b"1ea", "invalid character 'a' in exponent of numeric literal"),
    ],
)
def test_errors_are_worded_as_go_words_them(data: bytes, message: str) -> None:
    assert syntax_error(data) == message


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_right_json_has_no_error(value: object) -> None:
    assert syntax_error(json.dumps(value).encode()) == ""
