"""Bodies in Kubernetes' protobuf: how typed clients (kubectl create, auth can-i, client-go) send objects.

Follows the "Kubernetes Protobuf encoding" section of the API concepts page: four magic bytes, an envelope that names
the kind, and the message itself. A message becomes builtins by the object model's own types and the numbers in
protobuf_numbers; whoever asks is answered in JSON, which all these clients take as well.

Go writes every field that is not a pointer, also when it is empty: so empty texts, zeros and false are left out, but
for the fields where Go has a pointer and a zero therefore means a zero (_POINTERS).
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from kubeloop.actors.apiserver.protobuf_numbers import NUMBERS

MAGIC = b"k8s\x00"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# fields that are pointers in Go, wherever they occur: zero and false are values
_POINTER_NAMES = """
activeDeadlineSeconds allowPrivilegeEscalation automountServiceAccountToken averageUtilization backoffLimit
backoffLimitPerIndex blockOwnerDeletion completions controller defaultMode deletionGracePeriodSeconds
enableServiceLinks expirationSeconds failedJobsHistoryLimit fsGroup gracePeriodSeconds hostUsers immutable
leaseDurationSeconds leaseTransitions lun manualSelector maxFailedIndexes maxSurge maxUnavailable minAvailable
minDomains minReplicas mode optional orphanDependents parallelism partition priority privileged
progressDeadlineSeconds readOnlyRootFilesystem replicas revisionHistoryLimit runAsGroup runAsNonRoot runAsUser
setHostnameAsFQDN shareProcessNamespace startingDeadlineSeconds storageClassName successfulJobsHistoryLimit suspend
targetCPUUtilizationPercentage terminationGracePeriodSeconds timeoutSeconds tolerationSeconds ttlSecondsAfterFinished
"""
_POINTERS = frozenset(_POINTER_NAMES.split())
# pointers in one message, plain values in another
_PLAIN = frozenset({("ScaleSpec", "replicas"), ("ScaleStatus", "replicas"), ("Probe", "timeoutSeconds")})


class ProtobufError(ValueError):
    """A body that is no protobuf message, or one of a kind whose numbers are not known."""


def decode(data: bytes, type_: Any) -> dict[str, Any]:
    """An object in the envelope, as builtins with its apiVersion and kind. Raises ProtobufError."""
    if not data.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    type_meta, raw = b"", b""
    for number, value in _fields(data[len(MAGIC) :]):
        if number == 1:
            type_meta = _bytes(value)
        elif number == 2:
            raw = _bytes(value)
    named = {number: _bytes(value).decode() for number, value in _fields(type_meta)}
    return {"apiVersion": named.get(1, ""), "kind": named.get(2, ""), **_message(raw, type_)}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, varint or bytes) of one message."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
        if position + length > end:
            raise ProtobufError("unexpected EOF")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ProtobufError("unexpected EOF" if shift <= 63 else "proto: integer overflow")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("proto: wrong wireType = 0")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ProtobufError("proto: string field contains invalid UTF-8") from None


@lru_cache(512)
def _numbers(name: str) -> tuple[str, ...]:
    found = NUMBERS.get(name)
    if found is None:
        raise ProtobufError(f"the protobuf message {name} is not known here; send JSON")
    return tuple(found.split())


@lru_cache(512)
def _types(cls: Any) -> Mapping[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(cls)}


def _package(cls: Any) -> str:
    package, _, version = cls.__module__.rpartition(".")[2].rpartition("_")
    return f"{package}.{version}"


def _message(data: bytes, cls: Any, name: str = "") -> dict[str, Any]:
    """A message as builtins; `name`: of a message whose fields lie in `cls`'s JSON."""
    package = _package(cls)
    numbers = _numbers(f"{package}.{name or cls.__name__}")
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        json_name = numbers[number - 1] if 0 < number <= len(numbers) else "-"
        if json_name == "-":
            continue
        if json_name.startswith("+"):
            found |= _message(_bytes(value), cls, json_name[1:])
            continue
        _add(found, json_name, value, _types(cls).get(json_name, Any), name or cls.__name__)
    return found


def _add(found: dict[str, Any], name: str, value: int | bytes, type_: Any, message: str) -> None:
    type_ = _without_none(type_)
    origin = get_origin(type_)
    if origin is not None and origin is not Annotated and issubclass(origin, Mapping):
        if get_args(type_)[0] is str and get_args(type_)[1] is not Any:
            key, item = _map_entry(_bytes(value), get_args(type_)[1])
            found.setdefault(name, {})[key] = item
        else:
            found[name] = _raw(_bytes(value))
        return
    if origin is not None and origin is not Annotated and issubclass(origin, Sequence):
        found.setdefault(name, []).append(_value(value, get_args(type_)[0]))
        return
    decoded = _value(value, type_)
    pointer = name in _POINTERS and (message, name) not in _PLAIN
    if decoded is None or (decoded in ("", 0) and not pointer):
        return
    found[name] = decoded


def _without_none(type_: Any) -> Any:
    if get_origin(type_) is Union or type(type_).__name__ == "UnionType":
        found = [one for one in get_args(type_) if one is not type(None)]
        return found[0] if len(found) == 1 else "int_or_string"
    return type_


def _map_entry(data: bytes, type_: Any) -> tuple[str, Any]:
    key, item = "", None
    for number, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            item = _value(value, type_)
    return key, "" if item is None else item


def _value(value: int | bytes, type_: Any) -> Any:
    type_ = _without_none(type_)
    if type_ == "int_or_string":
        return _int_or_string(_bytes(value))
    if get_origin(type_) is Annotated:
        base, *notes = get_args(type_)
        special = next((_SPECIAL[note] for note in notes if isinstance(note, str) and note in _SPECIAL), None)
        return special(_bytes(value)) if special is not None else _value(value, base)
    if type_ is bool:
        return bool(value)
    if type_ is int:
        number = value if isinstance(value, int) else 0
        return number - (1 << 64) if number >= 1 << 63 else number
    if type_ is str:
        return _text(value)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _message(_bytes(value), type_)
    return _raw(_bytes(value))


def _quantity(data: bytes) -> str:
    return next((_text(value) for number, value in _fields(data) if number == 1), "0")


def _int_or_string(data: bytes) -> int | str:
    found: dict[int, int | bytes] = dict(_fields(data))
    if found.get(1):
        return _text(found.get(3, b""))
    number = found.get(2, 0)
    assert isinstance(number, int)
    return number - (1 << 64) if number >= 1 << 63 else number


def _moment(data: bytes) -> tuple[int, int] | None:
    found = dict(_fields(data))
    seconds, nanoseconds = found.get(1, 0), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int):
        raise ProtobufError("proto: wrong wireType = 2")
    if seconds >= 1 << 63:  # Go's zero time lies before the epoch: no time at all
        return None
    return (seconds, nanoseconds) if found else None


def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return None if moment is None else (EPOCH + timedelta(seconds=moment[0])).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(data: bytes) -> str | None:
    moment = _moment(data)
    if moment is None:
        return None
    at = EPOCH + timedelta(seconds=moment[0], microseconds=moment[1] // 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _raw(data: bytes) -> Any:
    """A RawExtension or FieldsV1: JSON inside."""
    inner = next((_bytes(value) for number, value in _fields(data) if number == 1), b"")
    try:
        return msgspec.json.decode(inner) if inner else None
    except msgspec.DecodeError as error:
        raise ProtobufError(str(error)) from None


_SPECIAL: Mapping[str, Callable[[bytes], Any]] = {
    "quantity": _quantity,
    "time": _time,
    "microtime": _micro_time,
    "base64": lambda data: base64.b64encode(data).decode(),
}
