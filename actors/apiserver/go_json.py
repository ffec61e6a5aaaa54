"""Go's words for JSON syntax errors (encoding/json), which a real API server's clients see. For refused bodies only."""

import re
from typing import Any, NoReturn

ESCAPES = '"\\/bfnrt'
LITERALS = ("true", "false", "null")
UNEXPECTED_END = "unexpected end of JSON input"
TOO_DEEP = "exceeded max depth"
# an escape: half of a surrogate pair alone (group 1), a whole pair, or any other
ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


class GoSyntaxError(ValueError):
    """The message of Go's *json.SyntaxError."""


def syntax_error(data: bytes) -> str:
    """What encoding/json says of `data`; "" when its syntax is right."""
    text = data.decode("utf-8", "replace")
    try:
        position = _skip(text, _value(text, _skip(text, 0), "looking for beginning of value", 0))
        if position < len(text):
            _wrong(text, position, "after top-level value")
    except GoSyntaxError as error:
        return str(error)
    except RecursionError:
        return TOO_DEEP
    return ""


def with_valid_text(data: bytes) -> bytes:
    """As Go reads strings: U+FFFD for bytes that are no UTF-8 and for halves of surrogate pairs."""
    text = data.decode("utf-8", "replace")
    return ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text).encode()


def quoted_character(character: str) -> str:
    """A character as Go's error messages print it."""
    if character == "'":
        return "'\\''"
    if character == '"':
        return "'\"'"
    escaped = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}.get(character)
    if escaped is None and (ord(character) < 0x20 or ord(character) == 0x7F):
        escaped = f"\\x{ord(character):02x}"
    if escaped is None and ord(character) > 0x7F:
        return f"'{chr(character.encode('utf-8')[0])}'"  # Go's scanner looks at bytes
    return f"'{escaped or character}'"


def _wrong(text: str, position: int, context: str) -> NoReturn:
    if position >= len(text):
        raise GoSyntaxError(UNEXPECTED_END)
    raise GoSyntaxError(f"invalid character {quoted_character(text[position])} {context}")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _value(text: str, position: int, context: str, depth: int) -> int:
    if depth > 10_000:
        raise GoSyntaxError(TOO_DEEP)
    character = text[position : position + 1]
    if character == "{":
        return _object(text, position + 1, depth)
    if character == "[":
        return _array(text, position + 1, depth)
    if character == '"':
        return _string(text, position + 1)
    for literal in LITERALS:
        if character == literal[0]:
            return _literal(text, position, literal)
    if character and (character == "-" or character in "0123456789"):
        return _number(text, position)
    _wrong(text, position, context)


def _object(text: str, position: int, depth: int) -> int:
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        return position + 1
    while True:
        if text[position : position + 1] != '"':
            _wrong(text, position, "looking for beginning of object key string")
        position = _skip(text, _string(text, position + 1))
        if text[position : position + 1] != ":":
            _wrong(text, position, "after object key")
        position = _skip(text, position + 1)
        position = _skip(text, _value(text, position, "looking for beginning of value", depth + 1))
        character = text[position : position + 1]
        if character == "}":
            return position + 1
        if character != ",":
            _wrong(text, position, "after object key:value pair")
        position = _skip(text, position + 1)


def _array(text: str, position: int, depth: int) -> int:
    position = _skip(text, position)
    if text[position : position + 1] == "]":
        return position + 1
    while True:
        position = _skip(text, _value(text, position, "looking for beginning of value", depth + 1))
        character = text[position : position + 1]
        if character == "]":
            return position + 1
        if character != ",":
            _wrong(text, position, "after array element")
        position = _skip(text, position + 1)


def _string(text: str, position: int) -> int:
    while True:
        if position >= len(text):
            raise GoSyntaxError(UNEXPECTED_END)
        character = text[position]
        if character == '"':
            return position + 1
        if character == "\\":
            position += 1
            escape = text[position : position + 1]
            if escape == "u":
                for _ in range(4):
                    position += 1
                    if text[position : position + 1] not in tuple("0123456789abcdefABCDEF"):
                        _wrong(text, position, "in \\u hexadecimal character escape")
            elif not escape or escape not in ESCAPES:
                _wrong(text, position, "in string escape code")
        elif ord(character) < 0x20:
            _wrong(text, position, "in string literal")
        position += 1


def _literal(text: str, position: int, literal: str) -> int:
    for index, expected in enumerate(literal):
        if text[position + index : position + index + 1] != expected:
            _wrong(text, position + index, f"in literal {literal} (expecting '{expected}')")
    return position + len(literal)


def _number(text: str, position: int) -> int:
    if text[position] == "-":
        position += 1
        if text[position : position + 1] not in tuple("0123456789"):
            _wrong(text, position, "in numeric literal")
    if text[position] == "0":
        position += 1
    else:
        position = _digits(text, position)
    if text[position : position + 1] == ".":
        if text[position + 1 : position + 2] not in tuple("0123456789"):
            _wrong(text, position + 1, "after decimal point in numeric literal")
        position = _digits(text, position + 1)
    if text[position : position + 1] in ("e", "E"):
        position += 1
        if text[position : position + 1] in ("+", "-"):
            position += 1
        if text[position : position + 1] not in tuple("0123456789"):
            _wrong(text, position, "in exponent of numeric literal")
        position = _digits(text, position)
    return position


def _digits(text: str, position: int) -> int:
    while text[position : position + 1] in tuple("0123456789"):
        position += 1
    return position


def go_kind(value: Any) -> str:
    """What encoding/json calls a value that does not fit."""
    names = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(type(value), "null")
