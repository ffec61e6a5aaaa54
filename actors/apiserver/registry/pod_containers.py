"""Validation of containers: names, ports, environment, mounts, resources, probes (core/v1 Container).

Plain containers must pass quickly: whatever is absent is skipped, names are looked up in caches, and a field path is
only written out for what has something to check.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    PORT_RANGE,
    Errors,
    check_name,
    check_non_negative,
    check_one_of,
    check_port_or_name,
    check_relative_path,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_defaults import NO_RESOURCES
from kubeloop.actors.apiserver.registry.pod_security import check_container_security
from kubeloop.actors.apiserver.registry.resource_checks import check_requirements

PROTOCOLS = ("SCTP", "TCP", "UDP")
RESIZE_POLICIES = ("NotRequired", "RestartContainer")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_TERMINATION = ("File", "FallbackToLogsOnError")
_FIELD_LABELS = frozenset(
    [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ]
)
_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_ENV_SOURCES = ("field_ref", "resource_field_ref", "config_map_key_ref", "secret_key_ref", "file_key_ref")
_ENV_SOURCES_MESSAGE = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
)

Volumes = Mapping[str, Any]


def check_container(errors: Errors, path: str, container: Any, volumes: Volumes) -> None:
    """What all three sorts of containers share."""
    name = container.name or ""
    if not name:
        errors.append(required(f"{path}.name"))
    elif names.dns_label(name):
        check_name(errors, f"{path}.name", name, names.dns_label)
    image = container.image or ""
    if not image:
        errors.append(required(f"{path}.image"))
    if container.termination_message_policy not in _TERMINATION:
        errors.append(
            unsupported(
                f"{path}.terminationMessagePolicy",
                container.termination_message_policy,
                ("FallbackToLogsOnError", "File"),
            )
        )
    if container.ports:
        check_ports(errors, f"{path}.ports", container.ports)
    if container.env:
        for index, variable in enumerate(container.env):
            check_env(errors, f"{path}.env[{index}]", variable)
    if container.env_from:
        check_env_from(errors, f"{path}.envFrom", container.env_from)
    if container.volume_mounts:
        check_mounts(errors, f"{path}.volumeMounts", container, volumes)
    if container.volume_devices:
        check_devices(errors, f"{path}.volumeDevices", container, volumes)
    if container.image_pull_policy not in PULL_POLICIES:
        errors.append(unsupported(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES))
    if container.resources is not NO_RESOURCES:
        check_container_resources(errors, f"{path}.resources", container)
    if container.resize_policy:
        check_resize_policies(errors, f"{path}.resizePolicy", container.resize_policy)
    if container.security_context is not None:
        check_container_security(errors, f"{path}.securityContext", container.security_context)


def check_image(errors: Errors, path: str, container: Any) -> None:
    """Pods are stricter than templates."""
    image = container.image or ""
    if image != image.strip():
        errors.append(invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))


def check_container_resources(errors: Errors, path: str, container: Any) -> None:
    check_requirements(errors, path, container.resources)


def check_resize_policies(errors: Errors, path: str, policies: Sequence[Any]) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name = policy.resource_name or ""
        if name in seen:
            errors.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
        for value, supported in ((name, ("cpu", "memory")), (policy.restart_policy, RESIZE_POLICIES)):
            if not value:
                errors.append(required(path))
            elif value not in supported:
                errors.append(unsupported(path, value, supported))


def check_ports(errors: Errors, path: str, ports: Sequence[Any]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        if port.name:
            wrong = names.port_name(port.name)
            for message in wrong:
                errors.append(invalid(f"{path}[{index}].name", port.name, message))
            if not wrong and port.name in seen:
                errors.append(duplicate(f"{path}[{index}].name", port.name))
            seen.add(port.name)
        if not port.container_port:
            errors.append(required(f"{path}[{index}].containerPort"))
        elif not 0 < port.container_port < 65536:
            errors.append(invalid(f"{path}[{index}].containerPort", port.container_port, PORT_RANGE))
        if port.host_port and not 0 < port.host_port < 65536:
            errors.append(invalid(f"{path}[{index}].hostPort", port.host_port, PORT_RANGE))
        if port.protocol not in PROTOCOLS:
            errors.append(unsupported(f"{path}[{index}].protocol", port.protocol, PROTOCOLS))


def check_env(errors: Errors, path: str, variable: Any) -> None:
    if not variable.name:
        errors.append(required(f"{path}.name"))
    else:
        check_name(errors, f"{path}.name", variable.name, names.environment_name)
    source = variable.value_from
    if source is None:
        return
    path = f"{path}.valueFrom"
    given = [field for field in _ENV_SOURCES if getattr(source, field, None) is not None]
    if source.field_ref is not None:
        check_field_ref(errors, f"{path}.fieldRef", source.field_ref, _ENV_FIELDS)
    if source.resource_field_ref is not None:
        check_resource_field_ref(errors, f"{path}.resourceFieldRef", source.resource_field_ref)
    for field, json_name in (("config_map_key_ref", "configMapKeyRef"), ("secret_key_ref", "secretKeyRef")):
        reference = getattr(source, field)
        if reference is not None:
            if not reference.key:
                errors.append(required(f"{path}.{json_name}.key"))
            else:
                check_name(errors, f"{path}.{json_name}.key", reference.key, names.config_map_key)
    if not given:
        errors.append(invalid(path, "", _ENV_SOURCES_MESSAGE))
    elif variable.value:
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def check_field_ref(errors: Errors, path: str, reference: Any, supported: Sequence[str]) -> None:
    field = reference.field_path or ""
    if not reference.api_version:
        errors.append(required(f"{path}.apiVersion"))
        return
    if not field:
        errors.append(required(f"{path}.fieldPath"))
        return
    base, bracket, key = field.partition("['")
    if bracket and key.endswith("']") and base in ("metadata.labels", "metadata.annotations"):
        check_name(errors, f"{path}.fieldPath", key[:-2], names.qualified_name)
    elif field not in _FIELD_LABELS:
        errors.append(
            invalid(f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}")
        )
    elif field not in supported:
        errors.append(unsupported(f"{path}.fieldPath", field, supported))


def check_volume_field_ref(errors: Errors, path: str, reference: Any) -> None:
    check_field_ref(errors, path, reference, _VOLUME_FIELDS)


def check_resource_field_ref(errors: Errors, path: str, reference: Any, *, in_volume: bool = False) -> None:
    if in_volume and not reference.container_name:
        errors.append(required(f"{path}.containerName"))
    resource = reference.resource or ""
    if not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in _RESOURCE_FIELDS and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        errors.append(unsupported(f"{path}.resource", resource, _RESOURCE_FIELDS))


def check_env_from(errors: Errors, path: str, sources: Sequence[Any]) -> None:
    for index, source in enumerate(sources):
        if source.prefix:
            check_name(errors, f"{path}[{index}].prefix", source.prefix, names.environment_name)
        given = [one for one in (source.config_map_ref, source.secret_ref) if one is not None]
        for reference, json_name in ((source.config_map_ref, "configMapRef"), (source.secret_ref, "secretRef")):
            if reference is not None and not reference.name:
                errors.append(required(f"{path}[{index}].{json_name}.name"))
        if not given:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def check_mounts(errors: Errors, path: str, container: Any, volumes: Volumes) -> None:
    seen: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        name, mount_path = mount.name or "", mount.mount_path or ""
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        if name not in volumes:
            errors.append(not_found(f"{path}[{index}].name", name))
        if not mount_path:
            errors.append(required(f"{path}[{index}].mountPath"))
        if mount_path in seen:
            errors.append(invalid(f"{path}[{index}].mountPath", mount_path, "must be unique"))
        seen.add(mount_path)
        if mount.sub_path:
            check_relative_path(errors, f"{path}.subPath", mount.sub_path)
        if mount.sub_path_expr:
            if mount.sub_path:
                errors.append(
                    invalid(
                        f"{path}[{index}].subPathExpr",
                        mount.sub_path_expr,
                        "subPathExpr and subPath are mutually exclusive",
                    )
                )
            check_relative_path(errors, f"{path}.subPathExpr", mount.sub_path_expr)
        if mount.mount_propagation:
            _check_propagation(errors, f"{path}.mountPropagation", mount.mount_propagation, container)


def _check_propagation(errors: Errors, path: str, propagation: str, container: Any) -> None:
    check_one_of(errors, path, propagation, ("Bidirectional", "HostToContainer", "None"))
    security = container.security_context
    if propagation == "Bidirectional" and not (security is not None and security.privileged):
        errors.append(forbidden(path, "Bidirectional mount propagation is available only to privileged containers"))


def check_devices(errors: Errors, path: str, container: Any, volumes: Volumes) -> None:
    paths: set[str] = set()
    mounted = {mount.name for mount in container.volume_mounts}
    for index, device in enumerate(container.volume_devices):
        name, device_path = device.name or "", device.device_path or ""
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(not_found(f"{path}[{index}].name", name))
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            message = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(invalid(f"{path}[{index}].name", name, message))
        if not device_path:
            errors.append(required(f"{path}[{index}].devicePath"))
        elif ".." in device_path.split("/"):
            errors.append(invalid(f"{path}[{index}].devicePath", device_path, "can not contain backsteps ('..')"))
        if device_path in paths:
            errors.append(invalid(f"{path}[{index}].devicePath", device_path, "must be unique"))
        paths.add(device_path)
        if name in mounted:
            errors.append(invalid(f"{path}[{index}].name", name, "must not already exist in volumeMounts"))


def check_probes(errors: Errors, path: str, container: Any, spec: Any) -> None:
    """`spec`: the pod's, which says how long it may take to end."""
    lifecycle = container.lifecycle
    if (
        lifecycle is None
        and container.liveness_probe is None
        and container.readiness_probe is None
        and container.startup_probe is None
    ):
        return
    if lifecycle is not None:
        for handler, name in ((lifecycle.post_start, "postStart"), (lifecycle.pre_stop, "preStop")):
            if handler is not None:
                where = f"{path}.lifecycle.{name}"
                check_handler(errors, where, handler)
                _check_sleep_within(errors, f"{where}.sleep", handler.sleep, spec.termination_grace_period_seconds)
    for probe, name in (
        (container.liveness_probe, "livenessProbe"),
        (container.readiness_probe, "readinessProbe"),
        (container.startup_probe, "startupProbe"),
    ):
        if probe is not None:
            check_probe(errors, f"{path}.{name}", probe)
            if name == "readinessProbe":
                if probe.termination_grace_period_seconds is not None:
                    where, grace = (
                        f"{path}.{name}.terminationGracePeriodSeconds",
                        probe.termination_grace_period_seconds,
                    )
                    errors.append(invalid(where, grace, "must not be set for readinessProbes"))
            elif probe.success_threshold not in (0, 1, None):
                errors.append(invalid(f"{path}.{name}.successThreshold", probe.success_threshold, "must be 1"))


def check_probe(errors: Errors, path: str, probe: Any) -> None:
    check_handler(errors, path, probe)
    for value, name in (
        (probe.initial_delay_seconds, "initialDelaySeconds"),
        (probe.timeout_seconds, "timeoutSeconds"),
        (probe.period_seconds, "periodSeconds"),
        (probe.success_threshold, "successThreshold"),
        (probe.failure_threshold, "failureThreshold"),
    ):
        check_non_negative(errors, f"{path}.{name}", value)
    grace = probe.termination_grace_period_seconds
    if grace is not None and grace <= 0:
        errors.append(invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))


def check_handler(errors: Errors, path: str, handler: Any) -> None:
    """A probe's or lifecycle hook's action: exactly one, and complete."""
    count = 0
    for field, check in _HANDLERS:
        action = getattr(handler, field, None)
        if action is None:
            continue
        json_name = _HANDLER_NAMES[field]
        if count:
            errors.append(forbidden(f"{path}.{json_name}", "may not specify more than 1 handler type"))
            continue
        count = 1
        check(errors, f"{path}.{json_name}", action)
    if not count:
        errors.append(required(path, "must specify a handler type"))


def _check_exec(errors: Errors, path: str, action: Any) -> None:
    if not action.command:
        errors.append(required(f"{path}.command"))


def _check_http_get(errors: Errors, path: str, action: Any) -> None:
    if not action.path:
        errors.append(required(f"{path}.path"))
    check_port_or_name(errors, f"{path}.port", action.port)
    check_one_of(errors, f"{path}.scheme", action.scheme, ("HTTP", "HTTPS"))
    for header in action.http_headers:
        check_name(errors, f"{path}.httpHeaders", header.name or "", names.http_header_name)


def _check_tcp_socket(errors: Errors, path: str, action: Any) -> None:
    check_port_or_name(errors, f"{path}.port", action.port)


def _check_sleep(errors: Errors, path: str, action: Any) -> None:
    """Checked with the pod's grace period (`_check_sleep_within`)."""


def _check_sleep_within(errors: Errors, path: str, action: Any, grace: int | None) -> None:
    if action is None or grace is None:
        return
    seconds = action.seconds or 0
    if not 0 <= seconds <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        errors.append(invalid(path, seconds, detail))


_HANDLERS = (
    ("exec", _check_exec),
    ("http_get", _check_http_get),
    ("tcp_socket", _check_tcp_socket),
    ("grpc", _check_tcp_socket),
    ("sleep", _check_sleep),
)
_HANDLER_NAMES = {"exec": "exec", "http_get": "httpGet", "tcp_socket": "tcpSocket", "grpc": "grpc", "sleep": "sleep"}
