"""An answer that is still to come, without a task that waits for it."""

import asyncio
from typing import Any


class Later:
    """What `on_message` of an actor may return in the place of an answer that others wait for too.

    `future` becomes the answer, or a ReplyError. The actor sees to it that it is done some time, also when the actor
    ends (`Actor.defer`); whoever has asked may cancel it.
    """

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[Any]") -> None:
        self.future = future
