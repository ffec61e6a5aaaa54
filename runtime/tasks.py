"""Child tasks. Everything that runs is a child of an actor or of the System, and ends with it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol


class Spawner(Protocol):
    """Whoever may own child tasks: an Actor, a System."""

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str = ...) -> "Child":
        """Runs `await function(*args)` as a child task."""
        ...


class Child:
    """A child task. Awaiting it waits for its end and gives its result; many may, and leaving does not cancel it."""

    __slots__ = ("_task", "name", "reply")

    def __init__(self, name: str, reply: "asyncio.Future[Any] | None" = None) -> None:
        self.name = name
        self.reply = reply  # of the ask that it works on
        self._task: asyncio.Task[Any] | None = None

    def cancel(self) -> None:
        """Ends it at its next await; nothing happens when it has ended."""
        if self._task is not None:
            self._task.cancel()

    @property
    def task(self) -> "asyncio.Task[Any]":
        assert self._task is not None
        return self._task

    def done(self) -> bool:
        return self._task is not None and self._task.done()

    async def wait(self) -> Any:
        """Its result; raises what it raised, or ChildCancelled."""
        task = self._task
        if task is None:
            raise ChildCancelled(f"{self.name} never began")
        if not task.done():
            await asyncio.wait([task])
        if task.cancelled():
            raise ChildCancelled(f"{self.name} was cancelled")
        return task.result()

    def __await__(self) -> Generator[Any, None, Any]:
        return self.wait().__await__()

    def __repr__(self) -> str:
        return f"<Child {self.name}{' done' if self.done() else ''}>"


class ChildCancelled(Exception):
    """The awaited child was cancelled, or its actor ended first."""


def start_coroutine(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
    awaitable = function(*args)
    return awaitable if asyncio.iscoroutine(awaitable) else _wait_for(awaitable)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
