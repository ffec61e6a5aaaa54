"""Defaults of pods and pod templates, as the core/v1 API reference documents them. The hot path of the API server.

Frozen objects in, frozen objects out: whoever has nothing to default is returned as it is, and each changed object is
built once. Quantities come out in Kubernetes' canonical form.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from msgspec.structs import replace

from kubeloop.actors.api import quantity
from kubeloop.actors.api.core_v1 import (
    EmptyDirVolumeSource,
    PodSecurityContext,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    ResourceRequirements,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta

NO_RESOURCES = ResourceRequirements()
NO_SECURITY_CONTEXT = PodSecurityContext()
NO_METADATA = ObjectMeta()
_UNWRITTEN_METADATA = PodTemplateSpec().metadata
FILE_MODE = 0o644
REMEMBERED_MAX = 512
# id of a spec -> (the spec itself, so that the id stays its own; the spec with its defaults)
_defaulted: dict[int, tuple[PodSpec, PodSpec]] = {}
T = TypeVar("T")

_PENDING = {qos: PodStatus(phase="Pending", qos_class=qos) for qos in ("BestEffort", "Burstable", "Guaranteed")}


def each(items: Sequence[T], function: Callable[[T], T]) -> Sequence[T]:
    """`function` applied to every item; the same sequence when that changed none."""
    changed = None
    for index, item in enumerate(items):
        new = function(item)
        if new is not item:
            if changed is None:
                changed = list(items)
            changed[index] = new
    return items if changed is None else tuple(changed)


@lru_cache(4096)
def pull_policy(image: str) -> str:
    """Always for the tag latest (also by omission), IfNotPresent for another tag or a digest."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


@lru_cache(8192)
def resource_quantity(value: str) -> str:
    """An amount in a resource list: in canonical form, nothing finer than thousandths."""
    found = quantity.canonical(value)
    return f"{quantity.milli_value(found)}m" if found[-1:] in ("u", "n") else found


def canonical_quantities(quantities: Mapping[str, str]) -> Mapping[str, str]:
    for value in quantities.values():
        if resource_quantity(value) != value:
            return {key: resource_quantity(value) for key, value in quantities.items()}
    return quantities


def default_pod(pod: Any) -> Any:
    """A Pod with everything defaulted (also what templates leave open: requests from limits, service links)."""
    spec = pod.spec
    new = _default_whole_spec(spec)
    return pod if new is spec else replace(pod, spec=new)


def _default_whole_spec(spec: PodSpec) -> PodSpec:
    """Controllers make many pods of one template's spec, the very same object: what came out of it is remembered."""
    known = _defaulted.get(id(spec))
    if known is not None and known[0] is spec:
        return known[1]
    new = default_pod_spec(spec, requests=True)
    changes: dict[str, Any] = {}
    if new.host_network:
        changes.update(_host_network_ports(new))
    if new.resources is not None:
        resources = _pod_level_resources(new, new.resources)
        if resources is not new.resources:
            changes["resources"] = resources
    if changes:
        new = replace(new, **changes)
    if len(_defaulted) >= REMEMBERED_MAX:
        _defaulted.clear()
    _defaulted[id(spec)] = (spec, new)
    return new


def default_pod_template(template: Any) -> Any:
    """A PodTemplateSpec with its pod spec defaulted; metadata is always written, if only as {}."""
    spec = template.spec
    new = default_pod_spec(spec)
    if template.metadata is _UNWRITTEN_METADATA:
        return replace(template, metadata=NO_METADATA, spec=new)
    return template if new is spec else replace(template, spec=new)


def default_pod_spec(spec: PodSpec, *, requests: bool = False) -> PodSpec:
    """A pod spec with its defaults; `requests`: of a pod, which asks for what it may use, not of a template."""
    changes: dict[str, Any] = {}
    container = _default_container_and_requests if requests else default_container
    containers = each(spec.containers, container)
    if containers is not spec.containers:
        changes["containers"] = containers
    if spec.init_containers:
        changes["init_containers"] = each(spec.init_containers, container)
    if spec.ephemeral_containers:
        changes["ephemeral_containers"] = each(spec.ephemeral_containers, default_container)
    if spec.volumes:
        volumes = each(spec.volumes, default_volume)
        if volumes is not spec.volumes:
            changes["volumes"] = volumes
    if requests and spec.enable_service_links is None:
        changes["enable_service_links"] = True
    if not spec.dns_policy:
        changes["dns_policy"] = "ClusterFirst"
    if not spec.restart_policy:
        changes["restart_policy"] = "Always"
    if not spec.scheduler_name:
        changes["scheduler_name"] = "default-scheduler"
    if spec.security_context is None:
        changes["security_context"] = NO_SECURITY_CONTEXT
    grace = spec.termination_grace_period_seconds
    if grace is None:
        changes["termination_grace_period_seconds"] = 30
    elif grace < 0:
        changes["termination_grace_period_seconds"] = 1
    if spec.service_account_name:
        if spec.service_account != spec.service_account_name:
            changes["service_account"] = spec.service_account_name
    elif spec.service_account:
        changes["service_account_name"] = spec.service_account
    if spec.overhead:
        changes["overhead"] = canonical_quantities(spec.overhead)
    if spec.resources is not None:
        changes["resources"] = _canonical_resources(spec.resources)
    return replace(spec, **changes) if changes else spec


def default_container(container: Any) -> Any:
    changes: dict[str, Any] = {}
    if not container.image_pull_policy:
        changes["image_pull_policy"] = pull_policy(container.image or "")
    if not container.termination_message_path:
        changes["termination_message_path"] = "/dev/termination-log"
    if not container.termination_message_policy:
        changes["termination_message_policy"] = "File"
    if container.resources is None:
        changes["resources"] = NO_RESOURCES
    elif container.resources is not NO_RESOURCES:
        resources = _canonical_resources(container.resources)
        if resources is not container.resources:
            changes["resources"] = resources
    if container.ports:
        ports = each(container.ports, default_port)
        if ports is not container.ports:
            changes["ports"] = ports
    if container.env:
        env = each(container.env, _default_env)
        if env is not container.env:
            changes["env"] = env
    if (
        container.liveness_probe is not None
        or container.readiness_probe is not None
        or container.startup_probe is not None
        or container.lifecycle is not None
    ):
        _default_probes(container, changes)
    return replace(container, **changes) if changes else container


def _default_container_and_requests(container: Any) -> Any:
    new = default_container(container)
    limits = new.resources.limits
    if not limits:
        return new
    requests = new.resources.requests
    missing = {name: value for name, value in limits.items() if name not in requests}
    if not missing:
        return new
    return replace(new, resources=replace(new.resources, requests={**requests, **missing}))


def _default_probes(container: Any, changes: dict[str, Any]) -> None:
    for field in ("liveness_probe", "readiness_probe", "startup_probe"):
        probe = getattr(container, field)
        if probe is not None:
            changes[field] = _default_probe(probe)
    lifecycle = container.lifecycle
    if lifecycle is not None:
        handlers: dict[str, Any] = {}
        for field in ("post_start", "pre_stop"):
            handler = getattr(lifecycle, field)
            if handler is not None and handler.http_get is not None:
                handlers[field] = replace(handler, http_get=_default_http_get(handler.http_get))
        if handlers:
            changes["lifecycle"] = replace(lifecycle, **handlers)


def _default_probe(probe: Any) -> Any:
    changes: dict[str, Any] = {
        field: value
        for field, value in (
            ("timeout_seconds", 1),
            ("period_seconds", 10),
            ("success_threshold", 1),
            ("failure_threshold", 3),
        )
        if not getattr(probe, field)
    }
    if probe.http_get is not None:
        changes["http_get"] = _default_http_get(probe.http_get)
    if probe.grpc is not None and probe.grpc.service is None:
        changes["grpc"] = replace(probe.grpc, service="")
    return replace(probe, **changes) if changes else probe


def _default_http_get(action: Any) -> Any:
    if action.path and action.scheme:
        return action
    return replace(action, path=action.path or "/", scheme=action.scheme or "HTTP")


def default_port(port: Any) -> Any:
    """A container, service or endpoint port: TCP when it says nothing."""
    return port if port.protocol else replace(port, protocol="TCP")


def _default_env(variable: Any) -> Any:
    source = variable.value_from
    if source is None:
        return variable
    if source.field_ref is not None:
        field_ref = _default_field_ref(source.field_ref)
        if field_ref is not source.field_ref:
            return replace(variable, value_from=replace(source, field_ref=field_ref))
    elif source.resource_field_ref is not None:
        reference = _default_divisor(source.resource_field_ref)
        if reference is not source.resource_field_ref:
            return replace(variable, value_from=replace(source, resource_field_ref=reference))
    return variable


def _default_field_ref(reference: Any) -> Any:
    return reference if reference.api_version else replace(reference, api_version="v1")


def _default_divisor(reference: Any) -> Any:
    divisor = quantity.canonical(reference.divisor) if reference.divisor else "0"
    return reference if divisor == reference.divisor else replace(reference, divisor=divisor)


def _canonical_resources(resources: Any) -> Any:
    limits, requests = resources.limits, resources.requests
    new_limits, new_requests = canonical_quantities(limits), canonical_quantities(requests)
    if new_limits is limits and new_requests is requests:
        return resources
    return replace(resources, limits=new_limits, requests=new_requests)


def _host_network_ports(spec: PodSpec) -> dict[str, Any]:
    def host_port(port: Any) -> Any:
        return port if port.host_port else replace(port, host_port=port.container_port)

    def container(container: Any) -> Any:
        ports = each(container.ports, host_port)
        return container if ports is container.ports else replace(container, ports=ports)

    return {
        "containers": each(spec.containers, container),
        "init_containers": each(spec.init_containers, container),
    }


def _pod_level_resources(spec: PodSpec, resources: Any) -> Any:
    """Requests of the pod: what its containers ask for together, else the pod's limit (pod-level resources)."""
    if not resources.limits:
        return resources
    requests = dict(resources.requests)
    totals = container_totals(spec, "requests")
    for name, limit in resources.limits.items():
        if name not in requests:
            requests[name] = totals.get(name) or limit
    for name, total in totals.items():
        if name not in requests and name in resources.limits:
            requests[name] = total
    return replace(resources, requests=requests)


def container_totals(spec: PodSpec, field: str) -> dict[str, str]:
    """The sum of the containers' requests or limits by resource, in canonical form."""
    sums: dict[str, list[str]] = {}
    for container in spec.containers:
        if container.resources is not None:
            for name, value in getattr(container.resources, field).items():
                sums.setdefault(name, []).append(value)
    return {
        name: values[0] if len(values) == 1 else quantity.format(sum(quantity.parse(value) for value in values))
        for name, values in sums.items()
    }


def default_volume(volume: Any) -> Any:
    for field, default in _VOLUME_DEFAULTS:
        source = getattr(volume, field)
        if source is not None:
            new = default(source)
            return volume if new is source else replace(volume, **{field: new})
    if all(getattr(volume, field) is None for field in volume.__struct_fields__ if field != "name"):
        return replace(volume, empty_dir=EmptyDirVolumeSource())
    return volume


def _default_mode(source: Any) -> Any:
    return source if source.default_mode is not None else replace(source, default_mode=FILE_MODE)


def _default_downward(source: Any) -> Any:
    items = each(source.items, _default_downward_item)
    if source.default_mode is not None and items is source.items:
        return source
    mode = FILE_MODE if source.default_mode is None else source.default_mode
    return replace(source, items=items, default_mode=mode)


def _default_downward_item(item: Any) -> Any:
    if item.field_ref is not None:
        reference = _default_field_ref(item.field_ref)
        return item if reference is item.field_ref else replace(item, field_ref=reference)
    if item.resource_field_ref is not None:
        reference = _default_divisor(item.resource_field_ref)
        return item if reference is item.resource_field_ref else replace(item, resource_field_ref=reference)
    return item


def _default_projected(source: Any) -> Any:
    sources = each(source.sources, _default_projection)
    if source.default_mode is not None and sources is source.sources:
        return source
    mode = FILE_MODE if source.default_mode is None else source.default_mode
    return replace(source, sources=sources, default_mode=mode)


def _default_projection(projection: Any) -> Any:
    token = projection.service_account_token
    if token is not None and token.expiration_seconds is None:
        return replace(projection, service_account_token=replace(token, expiration_seconds=3600))
    downward = projection.downward_api
    if downward is not None:
        items = each(downward.items, _default_downward_item)
        if items is not downward.items:
            return replace(projection, downward_api=replace(downward, items=items))
    return projection


def filled(source: Any, **defaults: Any) -> Any:
    """`source` with those of `defaults` that it leaves empty."""
    missing = {field: value for field, value in defaults.items() if getattr(source, field) in (None, "")}
    return replace(source, **missing) if missing else source


def default_host_path(source: Any) -> Any:
    return source if source.type is not None else replace(source, type="")


def default_iscsi(source: Any) -> Any:
    return filled(source, iscsi_interface="default")


def default_rbd(source: Any) -> Any:
    return filled(source, pool="rbd", user="admin", keyring="/etc/ceph/keyring")


def default_azure_disk(source: Any) -> Any:
    return filled(source, caching_mode="ReadWrite", kind="Shared", fs_type="ext4", read_only=False)


def default_scale_io(source: Any) -> Any:
    return filled(source, storage_mode="ThinProvisioned", fs_type="xfs")


def _default_empty_dir(source: Any) -> Any:
    if not source.size_limit:
        return source
    limit = quantity.canonical(source.size_limit)
    return source if limit == source.size_limit else replace(source, size_limit=limit)


def _default_ephemeral(source: Any) -> Any:
    template = source.volume_claim_template
    if template is None or template.spec is None:
        return source
    spec = default_claim_spec(template.spec)
    return source if spec is template.spec else replace(source, volume_claim_template=replace(template, spec=spec))


def default_claim_spec(spec: Any) -> Any:
    """A PersistentVolumeClaimSpec: a file system, canonical quantities, dataSource and dataSourceRef in step."""
    changes: dict[str, Any] = {}
    if not spec.volume_mode:
        changes["volume_mode"] = "Filesystem"
    if spec.resources is not None:
        resources = _canonical_resources(spec.resources)
        if resources is not spec.resources:
            changes["resources"] = resources
    return replace(spec, **changes) if changes else spec


_VOLUME_DEFAULTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("empty_dir", _default_empty_dir),
    ("config_map", _default_mode),
    ("secret", _default_mode),
    ("projected", _default_projected),
    ("host_path", default_host_path),
    ("downward_api", _default_downward),
    ("ephemeral", _default_ephemeral),
    ("iscsi", default_iscsi),
    ("rbd", default_rbd),
    ("azure_disk", default_azure_disk),
    ("scale_io", default_scale_io),
)


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory alone ("Pod Quality of Service Classes")."""
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        holders: Sequence[Any] = (spec,)
    else:
        holders = (*spec.containers, *spec.init_containers) if spec.init_containers else spec.containers
    guaranteed, burstable = True, False
    for holder in holders:
        resources = holder.resources
        if resources is None or resources is NO_RESOURCES:
            guaranteed = False
            continue
        for name in ("cpu", "memory"):
            request, limit = resources.requests.get(name), resources.limits.get(name)
            burstable = burstable or _positive(request) or _positive(limit)
            if not _positive(limit) or (request != limit and request is not None):
                guaranteed = False
    if guaranteed and burstable:
        return "Guaranteed"
    return "Burstable" if burstable else "BestEffort"


def _positive(value: str | None) -> bool:
    return value is not None and value != "0"  # zero is "0" in canonical form


def pending_status(spec: PodSpec) -> PodStatus:
    return _PENDING[qos_class(spec)]
