"""controller-runtime's contract: a queue of keys, and `reconcile(key)` that looks at the world, not at the event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.tasks import Spawner
from kubeloop.runtime.workqueue import WorkQueue


class Result(msgspec.Struct, frozen=True):
    """What a reconcile may ask for: to be called again for the key after so many seconds.

    >>> from kubeloop import Result
    >>> Result(requeue_after_seconds=30).requeue_after_seconds
    30
    """

    requeue_after_seconds: float | None = None


class TerminalError(Exception):
    """Raised by `reconcile`: no retry will help until the object changes."""


Reconcile = Callable[[Any], Awaitable[Result | None]]


class ReconcileLoop:
    """Works a queue off with at most `workers_max` workers; at rest there is none.

    An exception is logged and the key comes back with the queue's backoff; TerminalError is logged only.
    `on_error(key, error)` hears of every exception.

    >>> from kubeloop import Cluster, ReconcileLoop, simulate
    >>> from kubeloop.runtime.workqueue import WorkQueue
    >>> async def main():
    ...     seen = []
    ...     async def reconcile(key):
    ...         seen.append(key)
    ...     async with Cluster(nodes=0) as cluster:
    ...         queue = WorkQueue(cluster.system.clock)
    ...         ReconcileLoop("example", reconcile, queue=queue, spawner=cluster.system)
    ...         queue.add("default/web")
    ...         queue.add("default/web")
    ...         await cluster.system.clock.sleep(1)
    ...     return seen
    >>> simulate(main(), seed=1)
    ['default/web']
    """

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        queue: WorkQueue,
        spawner: Spawner,
        workers_max: int = 5,
        on_error: Callable[[Any, Exception], None] | None = None,
    ) -> None:
        self.name = name
        self.queue = queue
        self._reconcile = reconcile
        self._spawner = spawner
        self._workers = 0
        self._workers_max = workers_max
        self._on_error = on_error
        queue.on_ready = self._ready

    def _ready(self) -> None:
        if self._workers < self._workers_max:
            self._workers += 1
            try:
                self._spawner.spawn(self._work, name=f"{self.name} worker")
            except ActorStopped:
                self._workers -= 1

    async def _work(self) -> None:
        try:
            while (key := self.queue.get_nowait()) is not None:
                await self._reconcile_one(key)
        finally:
            self._workers -= 1

    async def _reconcile_one(self, key: Any) -> None:
        try:
            result = await self._reconcile(key)
        except TerminalError as error:
            self.queue.forget(key)
            get_logger().warning("reconcile_gave_up", controller=self.name, key=str(key), error=str(error))
            self._tell(key, error)
        except Exception as error:
            get_logger().info("reconcile_failed", controller=self.name, key=str(key), error=repr(error))
            self.queue.add_rate_limited(key)
            self._tell(key, error)
        else:
            self.queue.forget(key)
            if result is not None and result.requeue_after_seconds is not None:
                self.queue.add_after(key, result.requeue_after_seconds)
        finally:
            self.queue.done(key)

    def _tell(self, key: Any, error: Exception) -> None:
        if self._on_error is not None:
            self._on_error(key, error)
