"""The table of admission plugins, in kube-apiserver's order, by the resource that they look at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.admission import (
    default_toleration_seconds,
    grants,
    namespace_lifecycle,
    priority,
    runtime_class,
    service_account,
    taint_nodes_by_condition,
)
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.rbac.authorizer import GROUP as RBAC

# (call, object to be created, its namespace) -> what to change in its spec; raises StatusError (403) to refuse
CreatePlugin = Callable[[Call, Any, str], Mapping[str, Any]]

ON_CREATE: Mapping[tuple[str, str], Sequence[CreatePlugin]] = {
    ("", "pods"): (
        service_account.admit,
        priority.admit,
        default_toleration_seconds.admit,
        runtime_class.admit,
    ),
    ("", "nodes"): (taint_nodes_by_condition.admit,),
    ("scheduling.k8s.io", "priorityclasses"): (priority.check_class,),
    (RBAC, "clusterrolebindings"): (grants.admit_binding,),
    (RBAC, "clusterroles"): (grants.admit_role,),
    (RBAC, "rolebindings"): (grants.admit_binding,),
    (RBAC, "roles"): (grants.admit_role,),
}


# what is looked up for each object, also for one whose spec was admitted before (outcomes.py)
CheckPlugin = Callable[[Call, Any, Any, str], None]
ON_REMEMBERED: Mapping[tuple[str, str], Sequence[CheckPlugin]] = {("", "pods"): (service_account.check,)}


def admit_create(call: Call, obj: Any, given: ObjectMeta, namespace: str) -> Any:
    if namespace:
        namespace_lifecycle.check_create(call, given.name or "", namespace)
    resource = call.route.resource
    plugins = ON_CREATE.get((resource.group, resource.plural))
    if plugins is None:
        return obj
    for plugin in plugins:
        changes = plugin(call, obj, namespace)
        if changes:
            obj = replace(obj, spec=replace(obj.spec, **changes))
    return obj


# (call, object to be stored, the stored one); raises StatusError (403) to refuse
ON_UPDATE: Mapping[tuple[str, str], Callable[[Call, Any, Any], None]] = {
    (RBAC, "clusterrolebindings"): grants.check_binding,
    (RBAC, "clusterroles"): grants.check_role,
    (RBAC, "rolebindings"): grants.check_binding,
    (RBAC, "roles"): grants.check_role,
}


def admit_update(call: Call, obj: Any, stored: Any) -> None:
    resource = call.route.resource
    check = ON_UPDATE.get((resource.group, resource.plural))
    if check is not None:
        check(call, obj, stored)


ON_DELETE: Mapping[tuple[str, str], Callable[[Call], None]] = {("", "namespaces"): namespace_lifecycle.check_delete}


def admit_delete(call: Call) -> None:
    """Raises StatusError (403) to refuse."""
    resource = call.route.resource
    check = ON_DELETE.get((resource.group, resource.plural))
    if check is not None:
        check(call)


def looks_beyond_spec(obj: Any) -> bool:
    """Whether more than its spec decides what the plugins change in an object of ON_REMEMBERED."""
    spec = obj.spec
    return service_account.MIRROR in obj.metadata.annotations or bool(spec.runtime_class_name or spec.overhead)


def revision(call: Call) -> int:
    """Stands for everything that the plugins of ON_REMEMBERED read and do not look up each time."""
    return call.server.revision_of(priority.CLASSES)


def check_remembered(call: Call, obj: Any, spec: Any, namespace: str, checks: Sequence[CheckPlugin]) -> None:
    """Admission of an object whose spec was admitted before, as `spec`. Raises StatusError (403, 404) to refuse."""
    if namespace:
        namespace_lifecycle.check_create(call, obj.metadata.name or "", namespace)
    for check in checks:
        check(call, obj, spec, namespace)
