"""Field errors in short: one constructor a kind of error, and the checks that many kinds share.

A check appends to `errors` what it finds at `path` (field path as the API writes it: spec.ports[0].name) and returns
nothing, so that an object with nothing wrong costs no allocation. Wording: apimachinery's field errors.
"""

import ipaddress
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import quantity as quantities
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names

Errors = list[FieldError]

NON_NEGATIVE = "must be greater than or equal to 0"
PORT_RANGE = "must be between 1 and 65535, inclusive"
IMMUTABLE = "field is immutable"
INT32_MAX = 2147483647
SHOWN_CHARACTERS_MAX = 500  # of a value in a message


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "", detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, value, detail)


def unsupported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    detail = "supported values: " + ", ".join(f'"{one}"' for one in supported) if supported else ""
    return FieldError("FieldValueNotSupported", field, value, detail)


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, value, "")


def not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, value, "")


def too_long(field: str, value: Any, bytes_max: int) -> FieldError:
    return FieldError("FieldValueTooLong", field, value, f"may not be more than {bytes_max} bytes")


def too_many(field: str, count: int, count_max: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, count, f"must have at most {count_max} items")


def check_name(errors: Errors, path: str, value: str, rule: Callable[[str], names.Messages]) -> None:
    for message in rule(value):
        errors.append(invalid(path, value, message))


def check_one_of(errors: Errors, path: str, value: Any, supported: Sequence[str]) -> None:
    if value not in supported:
        errors.append(unsupported(path, value or "", supported))


def check_required_one_of(errors: Errors, path: str, value: str | None, supported: Sequence[str]) -> None:
    if not value:
        errors.append(required(path))
    elif value not in supported:
        errors.append(unsupported(path, value, supported))


def check_non_negative(errors: Errors, path: str, value: int | None) -> None:
    if value is not None and value < 0:
        errors.append(invalid(path, value, NON_NEGATIVE))


def check_port(errors: Errors, path: str, value: int | None) -> None:
    if not value or not 0 < value < 65536:
        errors.append(invalid(path, value or 0, PORT_RANGE))


def check_port_or_name(errors: Errors, path: str, value: int | str | None) -> None:
    if isinstance(value, str):
        check_name(errors, path, value, names.port_name)
    else:
        check_port(errors, path, value)


def check_labels(errors: Errors, path: str, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        for message in names.qualified_name(key):
            errors.append(invalid(path, key, message))
        for message in names.label_value(value):
            errors.append(invalid(path, value, message))


def check_annotations(errors: Errors, path: str, annotations: Mapping[str, str]) -> None:
    size = 0
    for key, value in annotations.items():
        for message in names.qualified_name(key.lower()):
            errors.append(invalid(path, key, message))
        size += len(key) + len(value)
    if size > 262144:
        errors.append(too_long(path, "", 262144))


def check_label_selector(errors: Errors, path: str, selector: Any) -> None:
    """A meta/v1 LabelSelector (None: nothing to check)."""
    if selector is None:
        return
    if selector.match_labels:
        check_labels(errors, f"{path}.matchLabels", selector.match_labels)
    for index, expression in enumerate(selector.match_expressions):
        check_selector_expression(errors, f"{path}.matchExpressions[{index}]", expression)


def check_selector_expression(errors: Errors, path: str, expression: Any) -> None:
    operator = expression.operator or ""
    if operator in ("In", "NotIn"):
        if not expression.values:
            errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if expression.values:
            errors.append(
                forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            )
    else:
        errors.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    check_name(errors, f"{path}.key", expression.key or "", names.qualified_name)
    for index, value in enumerate(expression.values):
        check_name(errors, f"{path}.values[{index}]", value, names.label_value)


def check_int_or_percent(errors: Errors, path: str, value: int | str | None) -> None:
    if isinstance(value, str):
        check_name(errors, path, value, names.percent)
    else:
        check_non_negative(errors, path, value)


def check_percent_at_most_100(errors: Errors, path: str, value: int | str | None) -> None:
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        errors.append(invalid(path, value, "must not be greater than 100%"))


def check_quantity(errors: Errors, path: str, value: str) -> None:
    if value[:1] == "-" and quantities.parse(value) < 0:
        errors.append(invalid(path, value, NON_NEGATIVE))


def check_immutable(errors: Errors, path: str, new: Any, old: Any) -> None:
    if new != old:
        errors.append(invalid(path, new, IMMUTABLE))


def check_ip(errors: Errors, path: str, value: str) -> None:
    check_name(errors, path, value, names.ip_address)


POD_BLOCKS = range(32, 224)  # of 127.X.0.0/16: where the process runtime's pods are (container_runtime/loopback.py)


def is_pod_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a loopback address is one that the process runtime gives to pods on this system."""
    if not sys.platform.startswith("linux"):
        return str(address) == "127.0.0.1"
    return address.version == 4 and address.packed[1] in POD_BLOCKS


def check_not_special_ip(errors: Errors, path: str, value: str) -> None:
    """An endpoint's or external address: not unspecified, loopback (but for the process runtime's pods), link-local."""
    address = names.parse_ip(value)
    if address is None:
        errors.append(invalid(path, value, "must be a valid IP address"))
        return
    if address.is_unspecified:
        errors.append(invalid(path, value, f"may not be unspecified ({value})"))
    if address.is_loopback and not is_pod_address(address):
        errors.append(invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        errors.append(invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if address.is_multicast and address.packed[:3] == b"\xe0\x00\x00":
        errors.append(invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))


def check_relative_path(errors: Errors, path: str, value: str) -> None:
    """A path that may not leave its volume."""
    if value.startswith("/"):
        errors.append(invalid(path, value, "must be a relative path"))
    check_no_back_steps(errors, path, value)


def check_no_back_steps(errors: Errors, path: str, value: str) -> None:
    if ".." in value.replace("\\", "/").split("/"):
        errors.append(invalid(path, value, "must not contain '..'"))


def changes_shown(new: Any, old: Any) -> str:
    """What differs between two objects of one type, a line for what was and one for what is, as JSON."""
    lines = []
    for field in msgspec.structs.fields(type(new)):
        now, before = getattr(new, field.name), getattr(old, field.name)
        if now != before:
            lines += [f"- {field.encode_name}: {_json(before)}", f"+ {field.encode_name}: {_json(now)}"]
    return "\n".join(lines)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:SHOWN_CHARACTERS_MAX]


def go_value(value: Any) -> Any:
    """What an error shows of an object without JSON names of its own: Go's capitalised fields, nothing left out."""
    if isinstance(value, msgspec.Struct):
        names_of = ((one.encode_name, one.name) for one in msgspec.structs.fields(type(value)))
        return {shown[:1].upper() + shown[1:]: go_value(getattr(value, name)) for shown, name in names_of}
    if isinstance(value, list | tuple):
        return [go_value(one) for one in value] or None
    return value
