"""The scheduler's algorithm alone: no API server, no actor, no events."""

import random
from time import perf_counter, process_time

from msgspec.structs import replace

from bench.objects import pod
from bench.workload import Measurement
from kubeloop.actors.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod
from kubeloop.actors.api.meta_v1 import ObjectMeta


async def algorithm(pods: int, node_count: int) -> Measurement:
    """Pods decided a second; taking them into the queue counts, filling in the nodes does not."""
    from kubeloop.actors.scheduler.core import Bind, Core

    core = Core(choose=random.Random(1).randrange, scheduler_names=("default-scheduler",))
    for number in range(node_count):
        core.set_node(_node(number), 0.0)
    objects = [_stored(pod(number), number) for number in range(pods)]
    before, cpu_before = perf_counter(), process_time()
    for one in objects:
        core.set_pod(one, 0.0)
    taken = perf_counter() - before
    bound = 0
    while (actions := core.schedule_one(0.0)) is not None:
        bound += sum(1 for action in actions if isinstance(action, Bind))
    seconds = perf_counter() - before
    if bound != pods:
        raise RuntimeError(f"only {bound} of {pods} pods found a node")
    detail = {"queued_seconds": taken, "seconds": seconds, "cpu_seconds": process_time() - cpu_before}
    return Measurement(pods / seconds, detail)


def _node(number: int) -> Node:
    name = f"node-{number}"
    room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    status = NodeStatus(capacity=room, allocatable=room, conditions=(NodeCondition(type="Ready", status="True"),))
    metadata = ObjectMeta(name=name, uid=name, labels={"kubernetes.io/hostname": name})
    return Node(metadata=metadata, spec=NodeSpec(), status=status)


def _stored(one: Pod, number: int) -> Pod:
    """As the API server would give it out."""
    assert one.metadata is not None
    return replace(one, metadata=replace(one.metadata, uid=f"pod-{number}", resource_version=str(number + 1)))
