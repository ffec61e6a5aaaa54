"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.apiserver.call import Call

SECONDS = 300
KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_added: tuple[Any, ...] = ()


def admit(call: Call, pod: Any, namespace: str) -> Mapping[str, Any]:
    given = pod.spec.tolerations
    if not given:
        return {"tolerations": added()}
    missing = [one for one in added() if not any(tolerates(toleration, one.key) for toleration in given)]
    return {"tolerations": (*given, *missing)} if missing else {}


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
