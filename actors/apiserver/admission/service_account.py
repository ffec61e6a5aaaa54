"""ServiceAccount: a pod runs as its namespace's "default" unless it says as whom; that account must exist."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call


def admit(call: Call, pod: Any, namespace: str) -> Mapping[str, Any]:
    spec = pod.spec
    if "kubernetes.io/config.mirror" in pod.metadata.annotations:
        return {}
    name = spec.service_account_name or spec.service_account
    if name and name != "default" and call.server.lookup("serviceaccounts", namespace, name) is None:
        text = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("pods", pod.metadata.name or "", text)
    name = name or "default"
    return {"service_account_name": name, "service_account": name}
