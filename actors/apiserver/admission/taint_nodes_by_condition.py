"""TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it ready."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.apiserver.call import Call

NOT_READY = "node.kubernetes.io/not-ready"


def admit(call: Call, node: Any, namespace: str) -> Mapping[str, Any]:
    from kubeloop.actors.api.core_v1 import Taint

    taints = node.spec.taints
    if any(taint.key == NOT_READY and taint.effect == "NoSchedule" for taint in taints):
        return {}
    return {"taints": (*taints, Taint(key=NOT_READY, effect="NoSchedule"))}
