"""Group commit: what came while one commit ran goes to disk with the next one.

Follows etcd's promise ("API guarantees", durability): what a client has been answered is on disk.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeAlias, TypeVar

from kubeloop.actors.etcd.messages import EtcdError
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.mailbox import fail
from kubeloop.store.changes import Compacted
from kubeloop.store.disk import Disk
from kubeloop.store.errors import NoSpaceError
from kubeloop.store.model import KeyValue
from kubeloop.store.store import Store

T = TypeVar("T")
Waiter: TypeAlias = "tuple[asyncio.Future[Any], Any, EtcdError | None]"


class AtOnce(Executor):
    """Does what it is given in the caller's thread. For virtual time: when a thread is ready no seed decides."""

    def submit(self, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(job(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class GroupCommit:
    """Takes a store's changes to its disk, in one thread, from which nothing else is done with the disk."""

    def __init__(self, store: Store, disk: Disk, thread: Executor) -> None:
        self._store = store
        self._disk = disk
        self._thread = thread
        self._in_flight = 0  # so many of the store's changes are on their way to the disk
        self._committing: list[Waiter] = []
        self._waiting: list[Waiter] = []
        self._sweepers: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._wake.set()  # what an earlier life did not sweep

    def durable(self, answer: Any, refusal: EtcdError | None = None) -> "asyncio.Future[Any]":
        """The answer, or the refusal, once all that the store holds now is on disk. Not a task's: many wait at once.

        When the disk is full, an EtcdError.
        """
        future = asyncio.get_running_loop().create_future()
        if len(self._store.changes) == self._in_flight:
            self._committing.append((future, answer, refusal))
        else:
            self._waiting.append((future, answer, refusal))
            self._wake.set()
        return future

    def close(self, error: Exception) -> None:
        """Tell everybody who waits."""
        waiting = self._committing + self._waiting
        self._committing, self._waiting = [], []
        for future, _, _ in waiting:
            fail(future, error)

    async def swept(self) -> None:
        """Return when nothing is on disk that nobody can read."""
        waiter = asyncio.get_running_loop().create_future()
        self._sweepers.append(waiter)
        self._wake.set()
        await waiter

    async def do(self, job: Callable[..., T], *args: Any) -> T:
        """Call something of the disk's between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job, *args)

    async def run(self) -> None:
        """Commit for ever. Raises `DiskFailedError`: the disk must be opened anew."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._store.changes:
                await self._commit()
            if self._disk.has_garbage and await self.do(self._sweep):
                self._wake.set()
            elif self._sweepers:
                sweepers, self._sweepers = self._sweepers, []
                for sweeper in sweepers:
                    if not sweeper.done():
                        sweeper.set_result(None)

    async def _commit(self) -> None:
        store = self._store
        changes = list(store.changes)
        unreadable: list[KeyValue] = []
        for change in changes:
            if type(change) is Compacted:
                unreadable += store.log.unreadable(change.previous, change.revision)
        self._in_flight = len(changes)
        self._committing, self._waiting = self._waiting, []
        try:
            await self.do(self._disk.commit, changes, unreadable)
        except NoSpaceError as error:
            self._in_flight = 0
            store.roll_back()
            get_logger(actor="etcd").error("disk_full", data_dir=str(self._disk.data_dir))
            self.close(EtcdError(str(error), error.code))
            return
        self._in_flight = 0
        committed, self._committing = self._committing, []
        store.settle(len(changes))
        for future, answer, refusal in committed:
            if future.done():  # nobody waits any more
                continue
            if refusal is None:
                future.set_result(answer)
            else:
                future.set_exception(refusal)

    def _sweep(self) -> bool:
        try:
            return self._disk.sweep()
        except NoSpaceError:
            return False  # a deletion needs room in the log; the next commit that finds some brings it up again
