"""An actor answers with a Later: whoever has asked or told it gets the answer when it is there."""

import asyncio
from typing import Any, ClassVar

import pytest

from kubeloop.runtime.actor import Actor, ActorStopped, Later, ReplyError
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System


class Clerk(Actor):
    """Answers everybody when it is told to open."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Any]] = []

    async def on_start(self) -> None:
        self.defer(self.close)

    async def on_message(self, message: Any) -> Any:
        if message == "open":
            return self.open()
        self.waiting.append(asyncio.get_running_loop().create_future())
        return Later(self.waiting[-1])

    def open(self) -> int:
        for number, future in enumerate(self.waiting):
            if not future.done():
                future.set_result(number)
        return len(self.waiting)

    def close(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_exception(ActorStopped("the clerk went home"))


class ConcurrentClerk(Clerk):
    concurrent: ClassVar[bool] = True
    mailbox_messages_max: ClassVar[int] = 4


def test_many_wait_without_a_task_each() -> None:
    async def main() -> None:
        async with System(seed=1) as system:
            clerk = await system.start(ConcurrentClerk, name="clerk", host="a")
            asks = [asyncio.ensure_future(clerk.ask("wait")) for _ in range(100)]
            await asyncio.sleep(0)
            asks[3].cancel()
            await asyncio.sleep(0)
            clerk.tell_nowait("wait")
            assert await clerk.ask("open") in (100, 101)
            results = await asyncio.gather(*asks, return_exceptions=True)
            assert [result for result in results if isinstance(result, int)] == [n for n in range(100) if n != 3]

    simulate(main(), seed=1)


@pytest.mark.parametrize("kind", [Clerk, ConcurrentClerk])
def test_the_actors_end_and_a_cut_connection_are_told(kind: type[Clerk]) -> None:
    async def main() -> None:
        async with System(seed=1) as system:
            await system.start(kind, name="clerk", host="a")
            near, far = system.ref("clerk", source_host="a"), system.ref("clerk", source_host="b")
            asks = [asyncio.ensure_future(ref.ask("wait")) for ref in (near, far)]
            await system.clock.sleep(1)
            system.crash("clerk")
            for ask in asks:
                with pytest.raises(ActorStopped):
                    await ask

    simulate(main(), seed=1)


def test_a_later_refusal_is_the_askers() -> None:
    class Refusing(Clerk):
        def open(self) -> int:
            for future in self.waiting:
                future.set_exception(ReplyError("closed today"))
            return 0

    class ConcurrentRefusing(Refusing):
        concurrent: ClassVar[bool] = True

    async def main(kind: type[Refusing]) -> None:
        async with System(seed=1) as system:
            clerk = await system.start(kind, name="clerk", host="a")
            clerk.tell_nowait("wait")
            await system.clock.sleep(1)
            ask = asyncio.ensure_future(clerk.ask("wait"))
            await system.clock.sleep(1)
            await clerk.ask("open")
            with pytest.raises(ReplyError, match="closed today"):
                await ask

    simulate(main(ConcurrentRefusing), seed=1)
