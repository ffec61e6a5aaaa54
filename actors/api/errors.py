"""Status errors, as the API server words them.

Follows the API conventions' section on response Status and apimachinery's reasons. A StatusError carries the Status
object as it goes over the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.runtime.actor import ReplyError

UNSET: Any = object()
LABELS = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotFound": "Not found",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "InternalError": "Internal error",
}
WITHOUT_VALUE = frozenset({"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"})


class FieldError(msgspec.Struct, frozen=True):
    """One cause of an Invalid status: `type` is the cause's reason, `field` its path, `value` what was there."""

    type: str
    field: str
    value: Any = None
    detail: str = ""

    @property
    def body(self) -> str:
        """The cause's message, without the field."""
        text = LABELS.get(self.type, self.type)
        if self.type not in WITHOUT_VALUE:
            text += f": {_shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def cause(self) -> dict[str, str]:
        return {"reason": self.type, "message": self.body, "field": self.field}


ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def quoted(text: str) -> str:
    """Text as Go quotes it (strconv.Quote): control and other unprintable characters escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(ESCAPES.get(one) or _escaped(one) for one in text)}"'


def _escaped(character: str) -> str:
    number = ord(character)
    if character.isprintable():
        return character
    if number < 0x80:
        return f"\\x{number:02x}"
    if 0xD800 <= number < 0xE000:
        return "\\ufffd"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _shown(value: Any) -> str:
    """A wrong value as a field error prints it: text quoted, plain values as they are, everything else as Go's JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float):
        return str(value)
    encoded = msgspec.json.encode(value).decode()
    for character in "<>&":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


class StatusError(ReplyError):
    """An answer that is a failure Status (meta/v1); `status` is the object on the wire.

    >>> import asyncio
    >>> from kubeloop import Cluster, StatusError
    >>> async def main():
    ...     async with Cluster(nodes=0) as cluster:
    ...         try:
    ...             await cluster.client.get("pods", "nobody")
    ...         except StatusError as error:
    ...             return error.code, error.reason, error.message
    >>> asyncio.run(main())
    (404, 'NotFound', 'pods "nobody" not found')
    """

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__(status.get("message", ""))
        self.status = status

    @property
    def code(self) -> int:
        return int(self.status.get("code", 500))

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.status.get("message", ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return (StatusError, (self.status,))


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> StatusError:
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if not reason:
        del status["reason"]
    if details is not None:
        status["details"] = {key: value for key, value in details.items() if value not in ("", None, [])}
    return StatusError(status)


def qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(resource: str, name: str, group: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "group": group, "kind": resource, **more}


def not_found(resource: str, name: str, group: str = "") -> StatusError:
    message = f"{qualified(resource, group)} {quoted(name)} not found"
    return failure(404, "NotFound", message, _details(resource, name, group))


def already_exists(resource: str, name: str, group: str = "") -> StatusError:
    message = f"{qualified(resource, group)} {quoted(name)} already exists"
    return failure(409, "AlreadyExists", message, _details(resource, name, group))


def conflict(resource: str, name: str, detail: str, group: str = "") -> StatusError:
    message = f"Operation cannot be fulfilled on {qualified(resource, group)} {quoted(name)}: {detail}"
    return failure(409, "Conflict", message, _details(resource, name, group))


def invalid(group: str, kind: str, name: str, causes: Sequence[FieldError]) -> StatusError:
    """422 with one cause a field error; the message joins them as apimachinery's Aggregate does."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.body}" for cause in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f"{qualified(kind, group)} {quoted(name)} is invalid" + (f": {joined}" if texts else "")
    return failure(422, "Invalid", message, _details(kind, name, group, causes=[cause.cause() for cause in causes]))


def bad_request(message: str) -> StatusError:
    return failure(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return failure(401, "Unauthorized", message)


def forbidden(resource: str, name: str, detail: str, group: str = "") -> StatusError:
    where = qualified(resource, group)
    if not where:
        message = f"forbidden: {detail}"
    elif name:
        message = f"{where} {quoted(name)} is forbidden: {detail}"
    else:
        message = f"{where} is forbidden: {detail}"
    return failure(403, "Forbidden", message, _details(resource, name, group))


def expired(message: str) -> StatusError:
    return failure(410, "Expired", message)


def gone(message: str) -> StatusError:
    return failure(410, "Gone", message)


def method_not_supported(resource: str = "", group: str = "", action: str = "") -> StatusError:
    if not resource:
        return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
    message = f"{action} is not supported on resources of kind {quoted(qualified(resource, group))}"
    return failure(405, "MethodNotAllowed", message, _details(resource, "", group))


def not_acceptable(message: str) -> StatusError:
    return failure(406, "NotAcceptable", message)


def unsupported_media_type(message: str) -> StatusError:
    return failure(415, "UnsupportedMediaType", message)


def request_entity_too_large(message: str) -> StatusError:
    return failure(413, "RequestEntityTooLarge", message)


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return failure(429, "TooManyRequests", message, details)


def timeout(message: str, retry_after_seconds: int = 0) -> StatusError:
    return failure(504, "Timeout", f"Timeout: {message}", {"retryAfterSeconds": retry_after_seconds or None})


def service_unavailable(message: str) -> StatusError:
    return failure(503, "ServiceUnavailable", message)


def internal_error(message: str) -> StatusError:
    details = {"causes": [{"message": message}]}
    return failure(500, "InternalError", f"Internal error occurred: {message}", details)


def not_implemented(message: str) -> StatusError:
    return failure(501, "NotImplemented", message)


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "NotFound"


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "Conflict"


def is_invalid(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "Invalid"


def is_expired(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code == 410


def is_forbidden(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "Forbidden"
