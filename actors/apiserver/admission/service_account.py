"""ServiceAccount: a pod runs as its namespace's "default" unless it says as whom; that account must exist."""

from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call


def admit(call: Call, pod: Any, namespace: str) -> Any:
    spec = pod.spec
    if spec is None or "kubernetes.io/config.mirror" in (pod.metadata.annotations if pod.metadata else ()):
        return pod
    name = spec.service_account_name or spec.service_account
    if name and name != "default":
        if call.server.lookup("serviceaccounts", namespace, name) is None:
            text = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise errors.forbidden("pods", pod.metadata.name or "", text)
    name = name or "default"
    if spec.service_account_name == name and spec.service_account == name:
        return pod
    spec = msgspec.structs.replace(spec, service_account_name=name, service_account=name)
    return msgspec.structs.replace(pod, spec=spec)
