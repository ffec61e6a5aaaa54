"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached."""

from typing import Any

import msgspec

from kubeloop.actors.apiserver.call import Call

SECONDS = 300
KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_added: tuple[Any, ...] = ()


def admit(call: Call, pod: Any, namespace: str) -> Any:
    spec = pod.spec
    if spec is None:
        return pod
    if not spec.tolerations:
        tolerations = added()
    else:
        missing = [one for one in added() if not any(tolerates(given, one.key) for given in spec.tolerations)]
        if not missing:
            return pod
        tolerations = (*spec.tolerations, *missing)
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(spec, tolerations=tolerations))


def tolerates(toleration: Any, key: str) -> bool:
    return (not toleration.key or toleration.key == key) and toleration.effect in (None, "", "NoExecute")


def added() -> tuple[Any, ...]:
    """The two tolerations, shared by all pods."""
    global _added
    if not _added:
        from kubeloop.actors.api.core_v1 import Toleration

        _added = tuple(
            Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=SECONDS) for key in KEYS
        )
    return _added
