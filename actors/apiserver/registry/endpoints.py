"""The entries of Endpoints (core/v1) and EndpointSlice (discovery.k8s.io/v1): who answers for a service."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_ip,
    check_name,
    check_not_special_ip,
    check_one_of,
    check_port,
    duplicate,
    invalid,
    required,
    too_many,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_containers import PROTOCOLS
from kubeloop.actors.apiserver.registry.pod_defaults import default_port, each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, first_of, text

ZONE_HINTS_MAX = 8
ENDPOINTS_MAX = 1000
PORTS_MAX = 20000
_DEPRECATED = ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)


def default_endpoints(obj: Any) -> Any:
    subsets = each(obj.subsets, _default_subset)
    return obj if subsets is obj.subsets else replace(obj, subsets=subsets)


def _default_subset(subset: Any) -> Any:
    ports = each(subset.ports, default_port)
    return subset if ports is subset.ports else replace(subset, ports=ports)


def validate_endpoints(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for index, subset in enumerate(obj.subsets):
        path = f"subsets[{index}]"
        if not subset.addresses and not subset.not_ready_addresses:
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for addresses, name in ((subset.addresses, "addresses"), (subset.not_ready_addresses, "notReadyAddresses")):
            for number, address in enumerate(addresses):
                _check_address(errors, f"{path}.{name}[{number}]", address)
        for number, port in enumerate(subset.ports):
            _check_port(errors, f"{path}.ports[{number}]", port, named=len(subset.ports) > 1)
    return errors


def _check_address(errors: Errors, path: str, address: Any) -> None:
    ip = address.ip or ""
    check_ip(errors, f"{path}.ip", ip)
    if address.hostname:
        check_name(errors, f"{path}.hostname", address.hostname, names.dns_label)
    if address.node_name is not None:
        check_name(errors, f"{path}.nodeName", address.node_name, names.dns_subdomain)
    check_not_special_ip(errors, f"{path}.ip", ip)


def _check_port(errors: Errors, path: str, port: Any, *, named: bool) -> None:
    if named and not port.name:
        errors.append(required(f"{path}.name"))
    elif port.name:
        check_name(errors, f"{path}.name", port.name, names.dns_label)
    check_port(errors, f"{path}.port", port.port)
    check_one_of(errors, f"{path}.protocol", port.protocol, PROTOCOLS)
    if port.app_protocol:
        check_name(errors, f"{path}.appProtocol", port.app_protocol, names.qualified_name)


def _endpoints_cell(obj: Any, now: float) -> str:
    found: list[str] = []
    for subset in obj.subsets:
        if subset.ports:
            for port in subset.ports:
                found += [
                    f"[{one.ip}]:{port.port}" if ":" in one.ip else f"{one.ip}:{port.port}" for one in subset.addresses
                ]
        else:
            found += [one.ip for one in subset.addresses]
    return first_of(found, 3) or NONE


def default_endpoint_slice(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    ports = each(obj.ports, _default_slice_port)
    if ports is not obj.ports:
        changes["ports"] = ports
    return replace(obj, **changes) if changes else obj


def _default_slice_port(port: Any) -> Any:
    if port.name is not None and port.protocol:
        return port
    return replace(port, name=port.name or "", protocol=port.protocol or "TCP")


def validate_endpoint_slice(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if not obj.address_type:
        errors.append(required("addressType"))
    else:
        check_one_of(errors, "addressType", obj.address_type, ("FQDN", "IPv4", "IPv6"))
    if len(obj.endpoints) > ENDPOINTS_MAX:
        errors.append(too_many("endpoints", len(obj.endpoints), ENDPOINTS_MAX))
    for index, endpoint in enumerate(obj.endpoints):
        _check_endpoint(errors, f"endpoints[{index}]", endpoint, obj.address_type)
    seen: set[str] = set()
    if len(obj.ports) > PORTS_MAX:
        errors.append(too_many("ports", len(obj.ports), PORTS_MAX))
    for index, port in enumerate(obj.ports):
        path = f"ports[{index}]"
        if port.name:
            check_name(errors, f"{path}.name", port.name, names.dns_label)
        if port.name in seen:
            errors.append(duplicate(f"{path}.name", port.name))
        seen.add(port.name)
        if port.protocol not in PROTOCOLS:
            errors.append(unsupported(f"{path}.protocol", port.protocol, PROTOCOLS))
        if port.port is not None:
            check_port(errors, f"{path}.port", port.port)
        if port.app_protocol:
            check_name(errors, f"{path}.appProtocol", port.app_protocol, names.qualified_name)
    return errors


def _check_hints(errors: Errors, path: str, zones: Sequence[Any]) -> None:
    if len(zones) > ZONE_HINTS_MAX:
        errors.append(too_many(path, len(zones), ZONE_HINTS_MAX))
        return
    seen: set[str] = set()
    for index, zone in enumerate(zones):
        name, where = zone.name or "", f"{path}[{index}].name"
        if name in seen:
            errors.append(duplicate(where, name))
        seen.add(name)
        check_name(errors, where, name, names.label_value)


def _check_endpoint(errors: Errors, path: str, endpoint: Any, address_type: str | None) -> None:
    if not endpoint.addresses:
        errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(endpoint.addresses) > 100:
        errors.append(too_many(f"{path}.addresses", len(endpoint.addresses), 100))
    for index, address in enumerate(endpoint.addresses):
        where = f"{path}.addresses[{index}]"
        if address_type == "FQDN":
            check_name(errors, where, address, names.dns_subdomain)
            continue
        parsed = names.parse_ip(address)
        if parsed is None or (address_type == "IPv4") != (parsed.version == 4):
            errors.append(invalid(where, address, f"must be a valid {address_type} address"))
        if parsed is not None and (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified):
            check_not_special_ip(errors, where, address)
    if endpoint.hostname is not None:
        check_name(errors, f"{path}.hostname", endpoint.hostname, names.dns_label)
    if endpoint.node_name is not None:
        check_name(errors, f"{path}.nodeName", endpoint.node_name, names.dns_subdomain)
    if endpoint.hints is not None:
        _check_hints(errors, f"{path}.hints.forZones", endpoint.hints.for_zones)


def validate_endpoint_slice_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.address_type == old.address_type:
        return ()
    return (invalid("addressType", new.address_type, "field is immutable"),)


def _slice_ports(obj: Any, now: float) -> str:
    if not obj.ports:
        return "<unset>"
    found = []
    for port in obj.ports:
        if port.port is not None:
            found.append(str(port.port))
        elif port.name:
            found.append(port.name)
    return first_of(found, 3)


def _slice_endpoints(obj: Any, now: float) -> str:
    found = [address for endpoint in obj.endpoints for address in endpoint.addresses]
    return first_of(found, 3) or "<unset>"


KINDS = (
    entry(
        "",
        "v1",
        "endpoints",
        default=default_endpoints,
        validate=validate_endpoints,
        deprecation_warnings=_DEPRECATED,
        create_on_update=True,
        columns=(NAME, text("Endpoints", _endpoints_cell), AGE),
    ),
    entry(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        default=default_endpoint_slice,
        validate=validate_endpoint_slice,
        validate_update=validate_endpoint_slice_update,
        tracks_generation=True,
        columns=(
            NAME,
            text("AddressType", lambda obj, now: obj.address_type or ""),
            text("Ports", _slice_ports),
            text("Endpoints", _slice_endpoints),
            AGE,
        ),
    ),
)
