"""Which built-in resources are served, in discovery order, with verbs and subresources; and where a kind's entry is.

The order of groups is that in which a real API server lists them; the first version of a group is the preferred one.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.api.resources import all_resources as resource_types
from kubeloop.actors.apiserver.registry.kind import Kind, Subresource, nothing_wrong, unchanged

Validate = Callable[[Any], Sequence[FieldError]]
ValidateUpdate = Callable[[Any, Any], Sequence[FieldError]]
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ_WRITE = ("get", "patch", "update")
_CONNECT = ("create", "delete", "get", "patch", "update")
STATUS = Subresource("status", _READ_WRITE)
SCALE = Subresource("scale", _READ_WRITE, "Scale", "autoscaling", "v1")


class Served(msgspec.Struct, frozen=True):
    """A served resource: its type, its verbs (sorted), its subresources (by name), its place below /registry/."""

    resource: ResourceType
    verbs: Sequence[str]
    subresources: Sequence[Subresource]
    storage_prefix: str


class _Row(msgspec.Struct, frozen=True):
    plural: str
    subresources: Sequence[Subresource] = ()
    verbs: Sequence[str] = ALL_VERBS
    storage_prefix: str = ""


def _plain(*plurals: str) -> tuple[_Row, ...]:
    return tuple(_Row(plural) for plural in plurals)


def _status(*plurals: str) -> tuple[_Row, ...]:
    return tuple(_Row(plural, (STATUS,)) for plural in plurals)


def _create_only(*plurals: str) -> tuple[_Row, ...]:
    return tuple(_Row(plural, verbs=("create",)) for plural in plurals)


_POD_SUBRESOURCES = (
    Subresource("attach", ("create", "get"), "PodAttachOptions"),
    Subresource("binding", ("create",), "Binding"),
    Subresource("ephemeralcontainers", _READ_WRITE),
    Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
    Subresource("exec", ("create", "get"), "PodExecOptions"),
    Subresource("log", ("get",)),
    Subresource("portforward", ("create", "get"), "PodPortForwardOptions"),
    Subresource("proxy", _CONNECT, "PodProxyOptions"),
    Subresource("resize", _READ_WRITE),
    STATUS,
)

_CORE = (
    *_create_only("bindings"),
    _Row("componentstatuses", verbs=("get", "list")),
    _Row("configmaps"),
    _Row("endpoints", storage_prefix="services/endpoints"),
    *_plain("events", "limitranges"),
    _Row(
        "namespaces",
        (Subresource("finalize", ("update",)), STATUS),
        ("create", "delete", "get", "list", "patch", "update", "watch"),
    ),
    _Row("nodes", (Subresource("proxy", _CONNECT, "NodeProxyOptions"), STATUS), storage_prefix="minions"),
    *_status("persistentvolumeclaims", "persistentvolumes"),
    _Row("pods", _POD_SUBRESOURCES),
    _Row("podtemplates"),
    _Row("replicationcontrollers", (SCALE, STATUS), storage_prefix="controllers"),
    *_status("resourcequotas"),
    _Row("secrets"),
    _Row("serviceaccounts", (Subresource("token", ("create",), "TokenRequest", "authentication.k8s.io", "v1"),)),
    _Row("services", (Subresource("proxy", _CONNECT, "ServiceProxyOptions"), STATUS), storage_prefix="services/specs"),
)

# (group, version, module of its entries, rows)
_GROUPS: tuple[tuple[str, str, str, tuple[_Row, ...]], ...] = (
    ("", "v1", "core", _CORE),
    (
        "apiregistration.k8s.io",
        "v1",
        "apiextensions",
        (_Row("apiservices", (STATUS,), storage_prefix="apiregistration.k8s.io/apiservices"),),
    ),
    (
        "apps",
        "v1",
        "apps",
        (
            _Row("controllerrevisions"),
            *_status("daemonsets"),
            *(_Row(plural, (SCALE, STATUS)) for plural in ("deployments", "replicasets", "statefulsets")),
        ),
    ),
    ("events.k8s.io", "v1", "events", _plain("events")),
    ("authentication.k8s.io", "v1", "reviews", _create_only("selfsubjectreviews", "tokenreviews")),
    (
        "authorization.k8s.io",
        "v1",
        "reviews",
        _create_only(
            "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"
        ),
    ),
    ("autoscaling", "v2", "autoscaling", _status("horizontalpodautoscalers")),
    ("autoscaling", "v1", "autoscaling", _status("horizontalpodautoscalers")),
    ("batch", "v1", "batch", _status("cronjobs", "jobs")),
    (
        "certificates.k8s.io",
        "v1",
        "certificates",
        (_Row("certificatesigningrequests", (Subresource("approval", _READ_WRITE), STATUS)),),
    ),
    (
        "networking.k8s.io",
        "v1",
        "networking",
        (
            _Row("ingressclasses"),
            _Row("ingresses", (STATUS,), storage_prefix="ingress"),
            *_plain("ipaddresses", "networkpolicies"),
            *_status("servicecidrs"),
        ),
    ),
    ("policy", "v1", "policy", _status("poddisruptionbudgets")),
    ("rbac.authorization.k8s.io", "v1", "rbac", _plain("clusterrolebindings", "clusterroles", "rolebindings", "roles")),
    (
        "storage.k8s.io",
        "v1",
        "storage",
        (
            *_plain("csidrivers", "csinodes", "csistoragecapacities", "storageclasses"),
            *_status("volumeattachments"),
            _Row("volumeattributesclasses"),
        ),
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "admissionregistration",
        (
            *_plain("mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations"),
            *_status("validatingadmissionpolicies"),
            *_plain("validatingadmissionpolicybindings", "validatingwebhookconfigurations"),
        ),
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "apiextensions",
        (
            _Row(
                "customresourcedefinitions", (STATUS,), storage_prefix="apiextensions.k8s.io/customresourcedefinitions"
            ),
        ),
    ),
    ("scheduling.k8s.io", "v1", "scheduling", _plain("priorityclasses")),
    ("coordination.k8s.io", "v1", "scheduling", _plain("leases")),
    ("node.k8s.io", "v1", "scheduling", _plain("runtimeclasses")),
    ("discovery.k8s.io", "v1", "endpoints", _plain("endpointslices")),
    (
        "resource.k8s.io",
        "v1",
        "resource",
        (
            _Row("deviceclasses"),
            *_status("resourceclaims"),
            *_plain("resourceclaimtemplates", "resourceslices"),
        ),
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowcontrol", _status("flowschemas", "prioritylevelconfigurations")),
)

# kinds of the core group whose entries are not in core.py
_CORE_MODULES = {
    "pods": "core_pods",
    "podtemplates": "core_pods",
    "services": "core_services",
    "endpoints": "endpoints",
    "events": "events",
    "nodes": "core_nodes",
    "limitranges": "core_limits",
    "resourcequotas": "core_limits",
    "persistentvolumes": "core_volumes",
    "persistentvolumeclaims": "core_volumes",
    "replicationcontrollers": "core_controllers",
}


def _catalogue() -> tuple[Served, ...]:
    types = {(type_.group, type_.version, type_.plural): type_ for type_ in resource_types()}
    return tuple(
        Served(types[group, version, row.plural], row.verbs, row.subresources, row.storage_prefix or row.plural)
        for group, version, _, rows in _GROUPS
        for row in rows
    )


SERVED: tuple[Served, ...] = _catalogue()
_BY_NAME: Mapping[tuple[str, str, str], Served] = {
    (row.resource.group, row.resource.version, row.resource.plural): row for row in SERVED
}
_MODULES: Mapping[tuple[str, str], str] = {(group, version): module for group, version, module, _ in _GROUPS}
_kinds: dict[tuple[str, str, str], Kind] = {}


def entry(group: str, version: str, plural: str, **behaviour: Any) -> Kind:
    """A kind's entry: what is served comes from the catalogue, what it does from `behaviour` (fields of Kind).

    `writes_all_parts`: its defaults and strategies set spec and status themselves, however empty.
    `validate_update` need only hold the rules of change: the new object is validated before, unless
    `only_changes_checked`.
    """
    served = _BY_NAME[group, version, plural]
    has_status = any(subresource.name == "status" for subresource in served.subresources)
    rules, validate = behaviour.get("validate_update"), behaviour.get("validate", nothing_wrong)
    if not behaviour.pop("writes_all_parts", False):
        behaviour["default"] = _with_parts(served.resource.type, behaviour.get("default", unchanged))
    if not behaviour.pop("only_changes_checked", False):
        behaviour["validate_update"] = _both(validate, rules) if rules is not None else lambda new, old: validate(new)
    return Kind(
        resource=served.resource,
        verbs=served.verbs,
        subresources=served.subresources,
        **{"storage_prefix": served.storage_prefix, "has_status": has_status, **behaviour},
    )


def _with_parts(type_: Any, default: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`default`, and spec and status written out even when they say nothing ({}), as the real API server does."""
    blank = type_()
    parts = [(field, getattr(blank, field)) for field in ("spec", "status") if hasattr(blank, field)]
    parts = [(field, part) for field, part in parts if isinstance(part, msgspec.Struct)]
    if not parts:
        return default
    written = {field: type(part)() for field, part in parts}

    def default_with_parts(obj: Any) -> Any:
        obj = default(obj)
        missing = {field: written[field] for field, part in parts if getattr(obj, field) is part}
        return msgspec.structs.replace(obj, **missing) if missing else obj

    return default_with_parts


def _both(validate: Validate, rules: ValidateUpdate) -> ValidateUpdate:
    """An updated object must be right in itself, and may not change what is fixed."""

    def validate_update(new: Any, old: Any) -> Sequence[FieldError]:
        wrong = validate(new)
        more = rules(new, old)
        return [*wrong, *more] if wrong else more

    return validate_update


def kind_for(group: str, version: str, plural: str) -> Kind | None:
    """The entry of a served built-in resource, None when it is not one. Imports the group's module at first use."""
    key = (group, version, plural)
    found = _kinds.get(key)
    if found is not None:
        return found
    if key not in _BY_NAME:
        return None
    module = _MODULES[group, version]
    if not group:
        module = _CORE_MODULES.get(plural, module)
    for kind in import_module(f"kubeloop.actors.apiserver.registry.{module}").KINDS:
        _kinds[kind.resource.group, kind.resource.version, kind.resource.plural] = kind
    return _kinds[key]
