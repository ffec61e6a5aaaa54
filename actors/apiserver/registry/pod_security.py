"""Validation of security contexts of pods and containers, and of what a pod's operating system allows (core/v1)."""

import re
from collections.abc import Sequence
from typing import Any

from kubeloop.actors.apiserver.registry.fields import (
    INT32_MAX,
    Errors,
    check_one_of,
    check_relative_path,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)

PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
PROFILE_BYTES_MAX = 4095
SYSCTL_BYTES_MAX = 253
SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL = re.compile(SYSCTL[1:-1] + r"\Z")
_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")
_RANGE = f"must be between 0 and {INT32_MAX}, inclusive"
NOT_ON_WINDOWS = "cannot be set for a windows pod"
_POD_FIELDS_OF_LINUX = (
    ("se_linux_options", "seLinuxOptions"),
    ("seccomp_profile", "seccompProfile"),
    ("fs_group", "fsGroup"),
    ("fs_group_change_policy", "fsGroupChangePolicy"),
    ("sysctls", "sysctls"),
    ("run_as_user", "runAsUser"),
    ("run_as_group", "runAsGroup"),
    ("supplemental_groups", "supplementalGroups"),
    ("supplemental_groups_policy", "supplementalGroupsPolicy"),
    ("app_armor_profile", "appArmorProfile"),
)
_CONTAINER_FIELDS_OF_LINUX = (
    ("app_armor_profile", "appArmorProfile"),
    ("se_linux_options", "seLinuxOptions"),
    ("seccomp_profile", "seccompProfile"),
    ("capabilities", "capabilities"),
    ("read_only_root_filesystem", "readOnlyRootFilesystem"),
    ("privileged", "privileged"),
    ("allow_privilege_escalation", "allowPrivilegeEscalation"),
    ("proc_mount", "procMount"),
    ("run_as_user", "runAsUser"),
    ("run_as_group", "runAsGroup"),
)


def check_pod_security(errors: Errors, path: str, spec: Any) -> None:
    """`path`: the spec's."""
    security = spec.security_context
    where = f"{path}.securityContext"
    _check_id(errors, f"{where}.fsGroup", security.fs_group)
    _check_id(errors, f"{where}.runAsUser", security.run_as_user)
    _check_id(errors, f"{where}.runAsGroup", security.run_as_group)
    for index, group in enumerate(security.supplemental_groups):
        _check_id(errors, f"{where}.supplementalGroups[{index}]", group)
    if security.sysctls:
        _check_sysctls(errors, f"{where}.sysctls", spec)
    if security.fs_group_change_policy is not None:
        policies = ("Always", "OnRootMismatch")
        check_one_of(errors, f"{where}.fsGroupChangePolicy", security.fs_group_change_policy, policies)
    _check_seccomp(errors, f"{where}.seccompProfile", security.seccomp_profile)
    _check_app_armor(errors, f"{where}.appArmorProfile", security.app_armor_profile)
    if security.supplemental_groups_policy is not None:
        policies = ("Merge", "Strict")
        check_one_of(errors, f"{where}.supplementalGroupsPolicy", security.supplemental_groups_policy, policies)


def check_host_namespaces(errors: Errors, path: str, spec: Any) -> None:
    """What shares the host's namespaces cannot also share its own, or have users of its own."""
    if spec.host_network:
        for index, container in enumerate(spec.containers):
            for number, port in enumerate(container.ports):
                if port.host_port != port.container_port:
                    where = f"{path}.containers[{index}].ports[{number}].containerPort"
                    detail = "must match `hostPort` when `hostNetwork` is true"
                    errors.append(invalid(where, port.container_port or 0, detail))
    if spec.share_process_namespace and spec.host_pid:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid(f"{path}.securityContext.shareProcessNamespace", True, detail))
    if spec.host_users is False:
        for value, name in ((spec.host_network, "hostNetwork"), (spec.host_pid, "hostPID"), (spec.host_ipc, "hostIPC")):
            if value:
                errors.append(forbidden(f"{path}.{name}", "when `hostUsers` is false"))


def _check_id(errors: Errors, path: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= INT32_MAX:
        errors.append(invalid(path, value, _RANGE))


def _check_sysctls(errors: Errors, path: str, spec: Any) -> None:
    seen: set[str] = set()
    for index, sysctl in enumerate(spec.security_context.sysctls):
        name, where = sysctl.name or "", f"{path}[{index}].name"
        if not name:
            errors.append(required(where))
        elif len(name) > SYSCTL_BYTES_MAX or _SYSCTL.match(name) is None:
            detail = f"must have at most {SYSCTL_BYTES_MAX} characters and match regex {SYSCTL}"
            errors.append(invalid(where, name, detail))
        elif name in seen:
            errors.append(duplicate(where, name))
        dotted = name.replace("/", ".")
        if spec.host_network and dotted.startswith("net."):
            errors.append(invalid(where, name, "may not be specified when 'hostNetwork' is true"))
        if spec.host_ipc and dotted.startswith(_IPC_SYSCTLS):
            errors.append(invalid(where, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def check_container_security(errors: Errors, path: str, security: Any) -> None:
    _check_id(errors, f"{path}.runAsUser", security.run_as_user)
    _check_id(errors, f"{path}.runAsGroup", security.run_as_group)
    if security.proc_mount is not None:
        if not security.proc_mount:
            errors.append(required(f"{path}.procMount"))
        else:
            check_one_of(errors, f"{path}.procMount", security.proc_mount, ("Default", "Unmasked"))
    _check_seccomp(errors, f"{path}.seccompProfile", security.seccomp_profile)
    if security.allow_privilege_escalation is False:
        if security.privileged:
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(invalid(path, security, detail))
        if security.capabilities is not None and "CAP_SYS_ADMIN" in security.capabilities.add:
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid(path, security, detail))
    _check_app_armor(errors, f"{path}.appArmorProfile", security.app_armor_profile)


def _check_seccomp(errors: Errors, path: str, profile: Any) -> None:
    if profile is None:
        return
    if not profile.type:
        errors.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif profile.type not in PROFILE_TYPES:
        errors.append(unsupported(f"{path}.type", profile.type, PROFILE_TYPES))
    if profile.type == "Localhost":
        if profile.localhost_profile is None:
            errors.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            check_relative_path(errors, f"{path}.localhostProfile", profile.localhost_profile)
    elif profile.localhost_profile is not None:
        shown = {"Type": profile.type or "", "LocalhostProfile": profile.localhost_profile}
        errors.append(invalid(f"{path}.localhostProfile", shown, "can only be set when seccomp type is Localhost"))


def _check_app_armor(errors: Errors, path: str, profile: Any) -> None:
    if profile is None:
        return
    given, where = profile.localhost_profile, f"{path}.localhostProfile"
    if profile.type == "Localhost":
        if given is None or not given.strip():
            errors.append(required(where, "must be set when AppArmor type is Localhost"))
        elif given != given.strip():
            errors.append(invalid(where, given, "must not be padded with whitespace"))
        if given is not None and len(given.encode()) > PROFILE_BYTES_MAX:
            errors.append(invalid(where, given, f"may not be more than {PROFILE_BYTES_MAX} bytes"))
    elif not profile.type:
        errors.append(required(f"{path}.type", "type is required when appArmorProfile is set"))
    elif profile.type not in PROFILE_TYPES:
        errors.append(unsupported(f"{path}.type", profile.type, PROFILE_TYPES))
    elif given is not None:
        errors.append(invalid(where, given, "can only be set when AppArmor type is Localhost"))


def check_os(errors: Errors, path: str, spec: Any) -> None:
    """The pod's operating system, and that it asks for nothing that this one does not have."""
    name = spec.os.name
    if not name:
        errors.append(required(f"{path}.os.name", "cannot be empty"))
    elif name == "linux":
        _check_linux(errors, path, spec)
    elif name == "windows":
        _check_windows(errors, path, spec)
    else:
        errors.append(unsupported(f"{path}.os", name, ("linux", "windows")))


def _all_containers(path: str, spec: Any) -> Sequence[tuple[str, Any]]:
    found = []
    for containers, name in (
        (spec.init_containers, "initContainers"),
        (spec.containers, "containers"),
        (spec.ephemeral_containers, "ephemeralContainers"),
    ):
        found += [(f"{path}.{name}[{index}]", container) for index, container in enumerate(containers)]
    return found


def _check_linux(errors: Errors, path: str, spec: Any) -> None:
    detail = "windows options cannot be set for a linux pod"
    security = spec.security_context
    if security is not None and security.windows_options is not None:
        errors.append(forbidden(f"{path}.securityContext.windowsOptions", detail))
    for where, container in _all_containers(path, spec):
        security = container.security_context
        if security is not None and security.windows_options is not None:
            errors.append(forbidden(f"{where}.securityContext.windowsOptions", detail))


def _check_windows(errors: Errors, path: str, spec: Any) -> None:
    security = spec.security_context
    for value, name in (
        (spec.host_users is not None, "hostUsers"),
        (spec.host_pid, "hostPID"),
        (spec.host_ipc, "hostIPC"),
        (spec.share_process_namespace is not None, "shareProcessNamespace"),
    ):
        if value:
            errors.append(forbidden(f"{path}.{name}", NOT_ON_WINDOWS))
    for field, name in _POD_FIELDS_OF_LINUX if security is not None else ():
        if getattr(security, field) not in (None, ()):
            errors.append(forbidden(f"{path}.securityContext.{name}", NOT_ON_WINDOWS))
    for where, container in _all_containers(path, spec):
        for field, name in _CONTAINER_FIELDS_OF_LINUX if container.security_context is not None else ():
            if getattr(container.security_context, field) is not None:
                errors.append(forbidden(f"{where}.securityContext.{name}", NOT_ON_WINDOWS))
