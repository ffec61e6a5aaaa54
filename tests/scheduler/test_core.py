"""Decisions and their words, on data."""

from __future__ import annotations

from typing import Any

from kubeloop.actors.api.core_v1 import Node, Pod
from kubeloop.actors.scheduler.cache import ClusterCache
from kubeloop.actors.scheduler.core import Action, Bind, Core, Evict, Refuse
from kubeloop.actors.scheduler.framework import Plugin
from kubeloop.actors.scheduler.needs import PodInfo
from tests.scheduler.objects import plain_node, plain_pod

NO_VICTIMS = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)


def make_core(*nodes: Node) -> Core:
    core = Core(choose=lambda count: 0, scheduler_names=["default-scheduler"])
    for node in nodes:
        core.set_node(node, 0.0)
    return core


def run(core: Core, *pods: Pod, now: float = 0.0) -> list[Action]:
    for pod in pods:
        core.set_pod(pod, now)
    actions: list[Action] = []
    while (some := core.schedule_one(now)) is not None:
        actions += some
    return actions


def placements(actions: list[Action]) -> dict[str, str]:
    return {action.queued.info.uid: action.node_name for action in actions if isinstance(action, Bind)}


def messages(actions: list[Action]) -> list[str]:
    return [action.message for action in actions if isinstance(action, Refuse)]


def bound(name: str, node: str, **spec: Any) -> Pod:
    return plain_pod(name, nodeName=node, **spec)


def test_without_nodes_there_is_nothing_to_say_of_them() -> None:
    assert messages(run(make_core(), plain_pod("p"))) == ["no nodes available to schedule pods"]


def test_each_node_is_counted_under_its_first_refusal() -> None:
    core = make_core(
        plain_node("full", cpu="1"),
        plain_node("cordoned", unschedulable=True),
        plain_node("tainted", taints=[{"key": "a", "effect": "NoSchedule"}]),
    )
    assert messages(run(core, bound("e", "full", cpu="1"), plain_pod("p", cpu="1"))) == [
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        " no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming "
        "pod, 2 Preemption is not helpful for scheduling."
    ]


def test_pods_of_other_schedulers_are_left_alone() -> None:
    assert run(make_core(plain_node("n1")), plain_pod("p", schedulerName="mine")) == []


def test_equal_pods_fill_the_nodes_evenly_and_never_beyond_their_room() -> None:
    core = make_core(*(plain_node(f"n{i}", cpu="3") for i in range(4)))
    actions = run(core, *(plain_pod(f"p{i}", cpu="1") for i in range(14)))
    placed = list(placements(actions).values())
    assert sorted(placed) == [f"n{i}" for i in range(4) for _ in range(3)]
    assert sorted(placed[:4]) == ["n0", "n1", "n2", "n3"]
    assert len(messages(actions)) == 2


def test_a_pod_that_goes_makes_room_for_one_that_waits() -> None:
    core = make_core(plain_node("n1", cpu="1"))
    first = bound("e", "n1", cpu="1")
    assert messages(run(core, first, plain_pod("p", cpu="1"))) == [
        f"0/1 nodes are available: 1 Insufficient cpu. {NO_VICTIMS}"
    ]
    core.remove_pod(first, 1.0)
    assert placements(run(core, now=1.0)) == {"p": "n1"}


def test_a_binding_that_fails_gives_the_room_back() -> None:
    core = make_core(plain_node("n1", cpu="1"))
    actions = run(core, plain_pod("a", cpu="1"))
    assert isinstance(actions[0], Bind)
    core.bind_failed(actions[0], 0.0, retry=True)
    assert placements(run(core, plain_pod("b", cpu="1"), now=0.1)) == {"b": "n1"}
    assert core.queue.get("a") is not None


def test_the_least_important_victims_go_and_the_preemptor_is_nominated() -> None:
    core = make_core(plain_node("n1", cpu="2"))
    low, middle = bound("low", "n1", cpu="1", priority=1), bound("middle", "n1", cpu="1", priority=5)
    actions = run(core, low, middle, plain_pod("p", cpu="1", priority=9))
    assert [
        action.victim.metadata.name for action in actions if isinstance(action, Evict) and action.victim.metadata
    ] == ["low"]
    refusal = actions[0]
    assert isinstance(refusal, Refuse)
    assert (refusal.message, refusal.nominated) == ("0/1 nodes are available: 1 Insufficient cpu.", "n1")


def test_room_that_a_nominated_pod_waits_for_is_not_taken_by_a_lesser_one() -> None:
    core = make_core(plain_node("n1", cpu="1"))
    victim = bound("victim", "n1", cpu="1", priority=1)
    run(core, victim, plain_pod("important", cpu="1", priority=9))
    core.remove_pod(victim, 1.0)
    assert placements(run(core, plain_pod("lesser", cpu="1", priority=5), now=1.0)) == {"important": "n1"}


def test_equal_pods_are_refused_in_equal_words_without_looking_again() -> None:
    core = make_core(plain_node("n1", cpu="1"), plain_node("n2", cpu="1"))
    actions = run(core, *(plain_pod(f"p{i}", cpu="2") for i in range(3)))
    assert len(set(messages(actions))) == 1
    assert len(messages(actions)) == 3


def test_an_event_that_cannot_help_wakes_nobody() -> None:
    core = make_core(plain_node("n1", cpu="1"))
    run(core, plain_pod("p", cpu="2"))
    core.set_node(plain_node("n1", cpu="1", taints=[{"key": "a", "effect": "PreferNoSchedule"}]), 1.0)
    core.set_node(plain_node("n2", cpu="1"), 1.0)
    assert core.queue.counts["unschedulable"] == 1
    core.set_node(plain_node("n2", cpu="3"), 1.0)
    assert placements(run(core, now=1.0)) == {"p": "n2"}


def test_a_node_that_goes_takes_no_more_pods() -> None:
    core = make_core(plain_node("n1"), plain_node("n2"))
    core.remove_node("n1")
    actions = run(core, *(plain_pod(f"p{i}") for i in range(3)))
    assert set(placements(actions).values()) == {"n2"}


class Broken(Plugin):
    """Raises for one pod."""

    NAME = "Broken"

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> None:
        if pod.key == "default/unlucky":
            raise RuntimeError("no luck")


def test_a_plugin_that_raises_stops_one_pod_and_not_the_others() -> None:
    core = make_core(plain_node("n1"))
    core.engine.plugins.insert(0, (Broken(), 0))
    actions = run(core, plain_pod("unlucky", cpu="1"), plain_pod("lucky", cpu="2"))
    assert placements(actions) == {"lucky": "n1"}
    assert [(a.reason, a.message) for a in actions if isinstance(a, Refuse)] == [
        ("SchedulerError", "RuntimeError: no luck")
    ]
    assert core.queue.counts["backoff"] == 1
