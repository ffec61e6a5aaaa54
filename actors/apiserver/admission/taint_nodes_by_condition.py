"""TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it ready."""

from typing import Any

import msgspec

from kubeloop.actors.apiserver.call import Call

NOT_READY = "node.kubernetes.io/not-ready"


def admit(call: Call, node: Any, namespace: str) -> Any:
    from kubeloop.actors.api.core_v1 import NodeSpec, Taint

    spec = node.spec if node.spec is not None else NodeSpec()
    if any(taint.key == NOT_READY and taint.effect == "NoSchedule" for taint in spec.taints):
        return node
    taints = (*spec.taints, Taint(key=NOT_READY, effect="NoSchedule"))
    return msgspec.structs.replace(node, spec=msgspec.structs.replace(spec, taints=taints))
