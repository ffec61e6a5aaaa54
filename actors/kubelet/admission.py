"""Whether the node takes a pod that was bound to it. Pure. The kubelet's own check, worded as it words it."""

from collections.abc import Mapping

import msgspec

PODS = "pods"


class Rejection(msgspec.Struct, frozen=True):
    """The pod fails with this reason and message."""

    reason: str
    message: str


def admit(requests: Mapping[str, int], used: Mapping[str, int], allocatable: Mapping[str, int]) -> Rejection | None:
    """All amounts in thousandths; `used` includes the number of pods. What the node does not name it has none of."""
    if used.get(PODS, 0) + 1000 > allocatable.get(PODS, 0):
        return _reject(PODS, 1000, used.get(PODS, 0), allocatable.get(PODS, 0))
    for name, amount in requests.items():
        if amount and used.get(name, 0) + amount > allocatable.get(name, 0):
            return _reject(name, amount, used.get(name, 0), allocatable.get(name, 0))
    return None


def _reject(name: str, requested: int, used: int, capacity: int) -> Rejection:
    unit = 1 if name == "cpu" else 1000
    message = (
        f"Pod was rejected: Node didn't have enough resource: {name}, requested: {requested // unit}, "
        f"used: {used // unit}, capacity: {capacity // unit}"
    )
    return Rejection(f"OutOf{name}", message)
