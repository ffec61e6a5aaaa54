"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going; some namespaces stay."""

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call

IMMORTAL = ("default", "kube-system", "kube-public")


def check_create(call: Call, name: str, namespace: str) -> None:
    """Raises 404 for a namespace that does not exist, 403 for one that terminates."""
    found = call.server.lookup("namespaces", "", namespace)
    if found is None:
        raise errors.not_found("namespaces", namespace)
    if found.metadata.deletion_timestamp is None:
        return
    resource = call.route.resource
    text = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = errors.forbidden(resource.plural, name, text, resource.group)
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    details = {**error.status.get("details", {}), "causes": [cause]}
    raise errors.StatusError({**error.status, "details": details})


def check_delete(call: Call) -> None:
    """Raises 403 for the namespaces that a cluster cannot be without."""
    if call.name in IMMORTAL:
        raise errors.forbidden("namespaces", call.name, "this namespace may not be deleted")
