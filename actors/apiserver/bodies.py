"""A request's body -> an object of the kind that the path names, or 400, 415, 422 in the API's words.

In process the body is the object already. Over HTTP it is bytes: JSON or YAML, decoded once.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import codec, meta
from kubeloop.actors.api.errors import StatusError, bad_request, unsupported_media_type
from kubeloop.actors.apiserver import known_types
from kubeloop.actors.apiserver.go_json import syntax_error, with_valid_text
from kubeloop.actors.apiserver.messages import Request

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = f"{JSON}, {YAML}, {PROTOBUF}"
SUMMARY_BYTES_MAX = 30
SCHEME = "pkg/api/legacyscheme/scheme.go:30"
GO_TYPE_META = (
    'json: cannot unmarshal {} into Go value of type struct {{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }}'
)


# drops what a schema does not know: (what is left, paths of what was dropped)
Prune = Callable[[Any], tuple[Any, list[str]]]


class Expected:
    """What a body must be: the kind at a version, and the Struct to decode it to (None: a dict, pruned by `prune`).

    `unversioned`: a kind that belongs to every group and version, as DeleteOptions does.
    """

    __slots__ = ("group", "kind", "prune", "type", "unversioned", "version")

    def __init__(
        self,
        group: str,
        version: str,
        kind: str,
        type: type | None,
        prune: Prune | None = None,
        *,
        unversioned: bool = False,
    ) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.type = type
        self.prune = prune
        self.unversioned = unversioned

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


_PARAMETER = re.compile(r"""\s*[\w!#$%&'*+.^`|~-]+=("([^"\\]|\\.)*"|[\w!#$%&'*+.^`|~-]+)\s*\Z""")


def media_type(content_type: str, default: str = "") -> str:
    """Without its parameters; `default` when there is none; "?" for what is no media type at all."""
    if not content_type:
        return default
    type_, *parameters = content_type.strip().removesuffix(";").split(";")
    if not type_.strip() or any(_PARAMETER.match(parameter) is None for parameter in parameters):
        return "?"
    return type_.strip().lower()


def read(request: Request, expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    """The object of a create or update. Unknown and duplicate fields are warned of, refused or ignored."""
    body = request.body
    if not isinstance(body, bytes):
        if type(body) is dict and expected.type is not None:
            check_gvk(body.get("apiVersion") or "", body.get("kind") or "", expected, body)
            return decoded(body, expected, field_validation, warnings)
        if expected.prune is not None:
            check_gvk(body.get("apiVersion") or "", body.get("kind") or "", expected, body)
            try:
                return expected.prune(body)[0]
            except ValueError as error:
                raise cannot_be_handled(expected, str(error)) from None
        return body
    type_ = media_type(request.content_type, JSON)
    if type_ == JSON:
        return read_json(body, expected, field_validation, warnings)
    if type_ == YAML:
        return read_yaml(body, expected, field_validation, warnings)
    if type_ == PROTOBUF:
        return read_protobuf(body, expected, field_validation, warnings)
    raise unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
    )


def read_json(body: bytes, expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    try:
        found = codec.decode_object(body, expected.type)
    except codec.DecodeError as error:
        wrong = syntax_error(body)
        if wrong:
            raise unrecognized(expected, f"couldn't get version/kind; json parse error: {wrong}", body) from None
        mended = with_valid_text(body)
        if mended != body:
            return read_json(mended, expected, field_validation, warnings)
        try:
            document = codec.decode_object(body, None).obj if body.lstrip()[:1] == b"{" else body
        except codec.DecodeError:
            raise cannot_be_handled(expected, str(error)) from None  # nested too deep
        if not isinstance(document, dict):
            if body.strip() == b"null":
                return decoded({}, expected, field_validation, warnings)
            text = GO_TYPE_META.format(go_kind(body))
            raise unrecognized(expected, f"couldn't get version/kind; json parse error: {text}", body) from None
        check_gvk(text_of(document, "apiVersion"), text_of(document, "kind"), expected, body)
        raise cannot_be_handled(expected, str(error)) from None
    api_version, kind = meta.api_version_and_kind(found.obj)
    check_gvk(api_version, kind, expected, body)
    return pruned(found, expected, field_validation, warnings)


def read_protobuf(body: bytes, expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    from kubeloop.actors.apiserver.protobuf import ProtobufError, decode

    if expected.type is None:  # custom resources have no protobuf form
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
        )
    try:
        document = decode(body, expected.type)
    except ProtobufError as error:
        if error.kind:
            check_gvk(error.api_version, error.kind, expected, body)
            raise cannot_be_handled(expected, str(error)) from None
        raise unrecognized(expected, str(error), body) from None
    check_gvk(document["apiVersion"], document["kind"], expected, body)
    return decoded(document, expected, field_validation, warnings)


def read_yaml(body: bytes, expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    from kubeloop.actors.apiserver.go_yaml import YamlError, load

    try:
        document, duplicates = load(body)
    except YamlError as error:
        raise unrecognized(expected, str(error), body) from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise unrecognized(
            expected, "couldn't get version/kind; json parse error: " + GO_TYPE_META.format("string"), body
        )
    check_gvk(text_of(document, "apiVersion"), text_of(document, "kind"), expected, body)
    if duplicates and field_validation == "Strict":
        lines = "".join(f"\n  {line}" for line in duplicates)
        raise cannot_be_handled(expected, f"strict decoding error: yaml: unmarshal errors:{lines}")
    if duplicates and field_validation != "Ignore":
        warnings.extend(duplicates)
    return decoded(document, expected, field_validation, warnings)


def decoded(document: dict[str, Any], expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    try:
        found = codec.decode_object(document, expected.type)
    except codec.DecodeError as error:
        raise cannot_be_handled(expected, str(error)) from None
    return pruned(found, expected, field_validation, warnings)


def pruned(found: Any, expected: Expected, field_validation: str, warnings: list[str]) -> Any:
    """The decoded object; what is unknown in it is told."""
    obj, unknown = found.obj, list(found.unknown)
    if expected.prune is not None:
        try:
            obj, dropped = expected.prune(obj)
        except ValueError as error:  # crd_schema.WrongEmbedded, DecodeError
            raise cannot_be_handled(expected, str(error)) from None
        unknown += dropped
    report(unknown, found.duplicates, expected, field_validation, warnings)
    return obj


def report(
    unknown: list[str], duplicates: Sequence[str], expected: Expected, field_validation: str, warnings: list[str]
) -> None:
    if field_validation == "Ignore" or not (unknown or duplicates):
        return
    texts = [f'duplicate field "{path}"' for path in duplicates]
    texts += [f'unknown field "{path}"' for path in unknown]
    if field_validation == "Strict":
        raise cannot_be_handled(expected, "strict decoding error: " + ", ".join(texts))
    warnings.extend(texts)


def check_custom_gvk(api_version: str, kind: str, expected: Expected, body: Any) -> None:
    """Custom resources have to say what they are. Another kind of this version is found wrong by validation."""
    if not kind:
        body = body if isinstance(body, bytes) else msgspec.json.encode(body)
        raise unrecognized(expected, f"Object 'Kind' is missing in '{body.decode('utf-8', 'replace')}'", body)
    if api_version != expected.api_version:
        raise other_version(api_version, expected)


def other_version(api_version: str, expected: Expected) -> StatusError:
    text = f"the API version in the data ({api_version}) does not match the expected API version"
    return bad_request(f"{text} ({expected.api_version})")


def check_gvk(api_version: str, kind: str, expected: Expected, body: Any) -> None:
    """Raises 400 when the body says that it is something else. Saying nothing is fine."""
    if expected.prune is not None:
        return check_custom_gvk(api_version, kind, expected, body)
    if expected.unversioned and kind == expected.kind:
        return None
    kind, api_version = kind or expected.kind, api_version or expected.api_version
    if (kind, api_version) == (expected.kind, expected.api_version):
        return None
    group, _, version = api_version.rpartition("/")
    if "/" in group:
        raise unrecognized(expected, f"unexpected GroupVersion string: {api_version}", body)
    if known_types.is_registered(api_version, kind) and known_types.converts(
        group, kind, expected.group, expected.kind
    ):
        raise other_version(api_version, expected)
    text = no_conversion(api_version, kind, expected)
    raise bad_request(f'{kind} in version "{version}" cannot be handled as a {expected.kind}: {text}')


def no_conversion(api_version: str, kind: str, expected: Expected) -> str:
    """Why an object of another kind cannot be taken for the expected one."""
    if not known_types.is_registered(api_version, kind):
        return f'no kind "{kind}" is registered for version "{api_version}" in scheme "{SCHEME}"'
    theirs = f"{api_version.rpartition('/')[2]}.{kind}"
    return f"converting ({theirs}) to ({package_of(expected.group)}.{expected.kind}): unknown conversion"


def package_of(group: str) -> str:
    """The Go package of a group's internal types, as conversions name it."""
    return group.partition(".")[0] or "core"


def cannot_be_handled(expected: Expected, text: str) -> StatusError:
    return bad_request(
        f'{expected.kind} in version "{expected.version}" cannot be handled as a {expected.kind}: {text}'
    )


def unrecognized(expected: Expected, text: str, body: Any) -> StatusError:
    body = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return bad_request(
        f"the object provided is unrecognized (must be of type {expected.kind}): {text} ({summary(body)})"
    )


def summary(body: bytes) -> str:
    """The body's beginning, as the API shows it: text when it looks like JSON, else hexadecimal."""
    if not body:
        return "<empty>"
    head = body[:SUMMARY_BYTES_MAX]
    text = head.decode("utf-8", "replace") if body[:1] == b"{" else head.hex()
    return text if len(body) <= SUMMARY_BYTES_MAX else text + " ..."


def text_of(document: dict[str, Any], field: str) -> str:
    value = document.get(field)
    return value if isinstance(value, str) else ""


def go_kind(body: bytes) -> str:
    first = body.lstrip()[:1]
    if first == b"[":
        return "array"
    if first == b'"':
        return "string"
    if first in (b"t", b"f"):
        return "bool"
    return "number"
