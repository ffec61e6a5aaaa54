"""ServiceAccount: a pod runs as its namespace's "default" unless it says as whom; that account must exist."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call

MIRROR = "kubernetes.io/config.mirror"


def admit(call: Call, pod: Any, namespace: str) -> Mapping[str, Any]:
    spec = pod.spec
    if MIRROR in pod.metadata.annotations:
        return {}
    check(call, pod, spec, namespace)
    name = spec.service_account_name or spec.service_account or "default"
    return {"service_account_name": name, "service_account": name}


def check(call: Call, pod: Any, spec: Any, namespace: str) -> None:
    """Raises 403 for an account that is not there; the default one need not be there yet."""
    name = spec.service_account_name or spec.service_account
    if name and name != "default" and call.server.lookup("serviceaccounts", namespace, name) is None:
        text = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("pods", pod.metadata.name or "", text)
