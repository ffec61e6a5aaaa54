"""kube-scheduler as an actor.

It watches pods and nodes (and, once a pod waits, what else decides), keeps a queue and a picture of the cluster
(``core.py``), and writes bindings, conditions and events. After a crash it starts from what it lists.

Nothing runs while nobody waits: a pass starts when the queue becomes ready and ends when it is empty. A pass decides
at most ``SLICE_COST`` worth of pods before it lets the loop go on; writes are carried out by a few writers, so that
over a network several are under way at once, while in process one writer finishes them without waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.client.events import EventRecorder
from kubeloop.actors.client.informer import Informer, InformerFactory
from kubeloop.actors.scheduler import writes
from kubeloop.actors.scheduler.messages import Explain, Explanation, Wake
from kubeloop.runtime.actor import Actor, UnknownMessage

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Node, Pod
    from kubeloop.actors.client.client import Client
    from kubeloop.actors.scheduler.core import Action, Core

SLICE_COST = 3_000
"""Work between two yields to the loop; at about a microsecond each, some 3 ms."""
WRITES_BETWEEN_YIELDS = 16
LOADS_BETWEEN_YIELDS = 100
WRITES_WAITING_MAX = 512
WRITERS_MAX = 16


class Scheduler(Actor):
    """Binds pods whose ``spec.schedulerName`` is one of ``scheduler_names``."""

    def __init__(self, client: Client, *, scheduler_names: Sequence[str] = ("default-scheduler",)) -> None:
        self.client = client
        self.scheduler_names = tuple(scheduler_names)
        self._core: Core | None = None
        self._running = False
        self._writes: deque[Action] = deque()
        self._writers = 0
        self._writing = 0
        """Writers in the middle of a write."""
        self._wake_at: float | None = None

    # Handled messages

    async def on_start(self) -> None:
        clock = self.context.clock
        self._events = EventRecorder(self.client, self.scheduler_names[0], self.context.host, clock, spawner=self)
        self._factory = InformerFactory(self.client, self, clock)
        self.defer(self._factory.stop)
        self._pods: Informer[Pod] = self._factory.informer("pods")
        self._nodes: Informer[Node] = self._factory.informer("nodes")
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)
        await self._factory.start()

    def describe(self) -> str:
        """What it holds, in words."""
        pending = sum(1 for pod in self._pods if pod.spec is not None and not pod.spec.node_name)
        return f"{len(self._nodes)} nodes, {len(self._pods)} pods, {pending} pending"

    async def on_message(self, message: Any) -> Any:
        if isinstance(message, Wake):
            self._wake_at = None
            self._kick()
            return None
        if isinstance(message, Explain):
            return self._explain(message)
        raise UnknownMessage(message)

    def _explain(self, message: Explain) -> Explanation:
        from kubeloop.actors.scheduler.core import condition_message

        pod = self._pods.get(f"{message.namespace}/{message.name}")
        uid = (pod.metadata.uid if pod is not None and pod.metadata is not None else None) or ""
        queued = self._core.queue.get(uid) if self._core is not None else None
        return Explanation(queued.place if queued else "", condition_message(pod) if pod is not None else "")

    # What the informers say

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        core = self._core
        if core is None:
            if new is not None and self._waits(new):
                self._kick()
            return
        now = self.context.clock.monotonic()
        if new is None:
            if old is not None:
                core.remove_pod(old, now)
        else:
            self._write(core.set_pod(new, now))
        if core.queue.ready:
            self._kick()

    def _waits(self, pod: Pod) -> bool:
        spec = pod.spec
        return (
            spec is not None
            and not spec.node_name
            and (spec.scheduler_name or "default-scheduler") in self.scheduler_names
        )

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        core = self._core
        if core is None:
            return
        if new is not None:
            if old is None or writes.node_matters(old, new):
                core.set_node(new, self.context.clock.monotonic())
        elif old is not None and old.metadata is not None:
            core.remove_node(old.metadata.name or "")
        if core.queue.ready:
            self._kick()

    # The scheduling pass

    def _kick(self) -> None:
        if not self._running:
            self._running = True
            self.spawn(self._pass, name="scheduling")

    async def _pass(self) -> None:
        clock = self.context.clock
        try:
            core = self._core if self._core is not None else await self._load()
            while len(self._writes) < WRITES_WAITING_MAX and self._slice(core):
                self._start_writers()
                await clock.sleep(0)
        finally:
            self._running = False
        self._start_writers()
        self._arm(core)

    def _slice(self, core: Core) -> bool:
        """Decides for some pods; False: nobody is left to be tried."""
        now = self.context.clock.monotonic()
        core.cost = 0
        while core.cost < SLICE_COST:
            actions = core.schedule_one(now)
            if actions is None:
                return False
            self._writes.extend(actions)
        return True

    def _arm(self, core: Core) -> None:
        wake_at = core.queue.next_wake()
        if wake_at is None or (self._wake_at is not None and self._wake_at <= wake_at):
            return
        self._wake_at = wake_at
        delay = max(0.0, wake_at - self.context.clock.monotonic())
        self.tell_later(delay, Wake())

    async def _load(self) -> Core:
        """The first pod waits: imports the columns and fills them from the informers."""
        from kubeloop.actors.scheduler.core import Core
        from kubeloop.actors.scheduler.feeds import Feeds

        clock = self.context.clock
        core = Core(choose=clock.random.randrange, scheduler_names=self.scheduler_names)
        self._feeds = Feeds(core, self._factory, clock, self._kick)
        await self._feeds.start()
        self._core = core  # from here on changes arrive through the handlers, too
        for index, key in enumerate(list(self._nodes.keys())):
            node = self._nodes.get(key)
            if node is not None:
                core.set_node(node, clock.monotonic())
            if index % LOADS_BETWEEN_YIELDS == 0:
                await clock.sleep(0)
        for index, key in enumerate(list(self._pods.keys())):
            pod = self._pods.get(key)
            if pod is not None:
                self._write(core.set_pod(pod, clock.monotonic()))
            if index % LOADS_BETWEEN_YIELDS == 0:
                await clock.sleep(0)
        return core

    # Writing

    def _write(self, action: Action | None) -> None:
        if action is not None:
            self._writes.append(action)
            self._start_writers()

    def _start_writers(self) -> None:
        """Starts another writer when all that there are wait for an answer."""
        if self._writes and self._writers < WRITERS_MAX and self._writing >= self._writers:
            self._writers += 1
            self.spawn(self._writer, name="writer")

    async def _writer(self) -> None:
        try:
            if self._writing < self._writers - 1:
                return  # another one goes on without waiting
            done = 0
            while self._writes:
                action = self._writes.popleft()
                self._writing += 1
                try:
                    self._start_writers()
                    await self._carry_out(action)
                finally:
                    self._writing -= 1
                done += 1
                if done % WRITES_BETWEEN_YIELDS == 0:
                    await self.context.clock.sleep(0)
        finally:
            self._writers -= 1
        if self._core is not None and self._core.queue.ready:
            self._kick()

    async def _carry_out(self, action: Action) -> None:
        from kubeloop.actors.scheduler.core import Bind, Evict

        if isinstance(action, Bind):
            await self._bind(action)
        elif isinstance(action, Evict):
            await self._ignoring_gone(writes.evict(self.client, self._events, action, self.context.clock))
        else:
            await self._ignoring_gone(writes.refuse(self.client, self._events, action, self.context.clock))

    async def _bind(self, action: Any) -> None:
        pod: Pod = action.queued.info.pod
        try:
            await self.client.bind(pod, action.node_name)
        except StatusError as error:
            gone = is_not_found(error)
            if self._core is not None:
                now = self.context.clock.monotonic()
                self._core.bind_failed(action, now, retry=not gone and not is_conflict(error))
                self._arm(self._core)
            if not gone:
                self._events.event(pod, "Warning", "FailedScheduling", error.message)
            return
        key = action.queued.info.key
        self._events.event(pod, "Normal", "Scheduled", f"Successfully assigned {key} to {action.node_name}")

    async def _ignoring_gone(self, write: Any) -> None:
        """Awaits a write about a pod that may have gone meanwhile; other refusals are logged: the pod is retried."""
        try:
            await write
        except StatusError as error:
            if not is_not_found(error):
                self.context.log.warning("write_refused", error=error.message)
