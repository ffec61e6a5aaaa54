"""The queue: order, backoff, and what wakes whom."""

from __future__ import annotations

from kubeloop.actors.scheduler.framework import Event
from kubeloop.actors.scheduler.needs import NeedsTable, PodInfo
from kubeloop.actors.scheduler.queue import QueuedPod, SchedulingQueue
from tests.scheduler.objects import plain_pod

NODE_EVENTS = frozenset({Event.NODE_ADD})


def info(name: str, *, priority: int = 0) -> PodInfo:
    return PodInfo(plain_pod(name, priority=priority), NeedsTable())


def popped(queue: SchedulingQueue, now: float) -> QueuedPod:
    found = queue.pop(now)
    assert found is not None
    return found


def refused(queue: SchedulingQueue, name: str, now: float, *, priority: int = 0) -> None:
    queue.add(info(name, priority=priority), now)
    queue.refused(popped(queue, now), ("NodeResourcesFit",), NODE_EVENTS, now)


def test_higher_priority_goes_first_then_who_came_first() -> None:
    queue = SchedulingQueue()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(info(name, priority=priority), now=float(len(queue)))
    assert [popped(queue, 9.0).info.uid for _ in range(4)] == ["b", "d", "a", "c"]
    assert queue.pop(9.0) is None


def test_a_refused_pod_waits_for_an_event_that_its_plugins_care_about() -> None:
    queue = SchedulingQueue()
    refused(queue, "a", 0.0)
    assert queue.pop(100.0) is None
    assert queue.move(Event.POD_DELETE, lambda _: True, 100.0) == 0
    assert queue.move(Event.NODE_ADD, lambda _: False, 100.0) == 0
    assert queue.move(Event.NODE_ADD, lambda _: True, 100.0) == 1
    assert popped(queue, 100.0).info.uid == "a"


def test_a_woken_pod_is_tried_within_its_backoff_only_when_nobody_else_waits() -> None:
    queue = SchedulingQueue()
    refused(queue, "a", 10.0)
    queue.add(info("b"), 10.1)
    queue.move(Event.NODE_ADD, lambda _: True, 10.1)
    assert queue.counts["backoff"] == 1
    assert [popped(queue, 10.2).info.uid for _ in range(2)] == ["b", "a"]


def test_after_an_error_the_backoff_is_waited_out() -> None:
    queue = SchedulingQueue()
    queue.add(info("a"), 10.0)
    queue.failed(popped(queue, 10.0), 10.0)
    assert queue.pop(10.5) is None
    assert queue.next_wake() == 11.0
    assert popped(queue, 11.0).info.uid == "a"


def test_backoff_doubles_up_to_ten_seconds() -> None:
    pod = QueuedPod(info("a"))
    seconds = []
    for attempt in range(7):
        pod.attempts = attempt
        seconds.append(pod.backoff_seconds)
    assert seconds == [0, 1, 2, 4, 8, 10, 10]


def test_pods_whose_backoff_ends_in_the_same_second_go_by_priority() -> None:
    queue = SchedulingQueue()
    refused(queue, "low", 10.1, priority=1)
    refused(queue, "high", 10.3, priority=9)
    queue.move(Event.NODE_ADD, lambda _: True, 10.4)
    assert [popped(queue, 10.4).info.uid for _ in range(2)] == ["high", "low"]


def test_after_five_minutes_a_pod_is_tried_again_without_any_event() -> None:
    queue = SchedulingQueue()
    refused(queue, "a", 0.0)
    assert queue.next_wake() == 300.0
    assert queue.pop(299.0) is None
    assert popped(queue, 300.0).info.uid == "a"


def test_a_gated_pod_is_not_tried_until_its_gates_are_gone() -> None:
    queue = SchedulingQueue()
    queue.add(info("a"), 0.0, gated=True)
    assert queue.pop(400.0) is None
    queue.add(info("a"), 500.0)
    assert popped(queue, 500.0).info.uid == "a"


def test_a_removed_pod_never_comes_out() -> None:
    queue = SchedulingQueue()
    queue.add(info("a"), 0.0)
    refused(queue, "b", 0.0, priority=1)
    queue.remove("a")
    queue.remove("b")
    assert queue.move(Event.NODE_ADD, lambda _: True, 1.0) == 0
    assert queue.pop(1000.0) is None
    assert len(queue) == 0
    assert sum(queue.counts.values()) == 0
