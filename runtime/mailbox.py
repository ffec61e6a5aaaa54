"""A bounded first-in-first-out mailbox."""

import asyncio
from collections import deque
from typing import Any

from kubeloop.runtime.errors import ActorStopped, MailboxFull


def fail(reply: "asyncio.Future[Any]", error: Exception) -> None:
    """Answers with an error, unless it was answered or cancelled; no complaint when the asker has just left."""
    if not reply.done():
        reply.set_exception(error)
        reply.exception()


class Ask:
    """A message whose sender waits for the answer."""

    __slots__ = ("message", "reply")

    def __init__(self, message: Any, reply: "asyncio.Future[Any]") -> None:
        self.message = message
        self.reply = reply


class Mailbox:
    """Messages (told) and Asks. Made with the first message and thrown away when drained: an idle actor has none."""

    __slots__ = ("_messages", "_senders", "messages_max", "owner")

    def __init__(self, owner: str, messages_max: int) -> None:
        self.owner = owner
        self.messages_max = messages_max
        self._messages: deque[Any] = deque()
        self._senders: deque[asyncio.Future[None]] | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def unused(self) -> bool:
        """No message, and nobody who waits to put one."""
        return not self._messages and not self._senders

    def put_nowait(self, message: Any) -> None:
        """Raises MailboxFull when there is no room."""
        if len(self._messages) >= self.messages_max:
            raise MailboxFull(f"{self.owner}: {len(self._messages)} messages wait, at most {self.messages_max} may")
        self._messages.append(message)

    def put_always(self, message: Any) -> None:
        """For an actor's own timers, whose messages must not be lost."""
        self._messages.append(message)

    async def wait_for_room(self) -> None:
        """Returns when there is room. Raises ActorStopped when the actor ends first."""
        if self._senders is None:
            self._senders = deque()
        while len(self._messages) >= self.messages_max:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append(room)
            try:
                await room
            except asyncio.CancelledError:
                if room.done() and not room.cancelled() and room.exception() is None:
                    self._admit_sender()
                raise

    def get(self) -> Any:
        message = self._messages.popleft()
        if self._senders:
            self._admit_sender()
        return message

    def close(self, reason: str) -> None:
        """Answers everybody who waits with ActorStopped."""
        for message in self._messages:
            if type(message) is Ask:
                fail(message.reply, ActorStopped(reason))
        self._messages.clear()
        for sender in self._senders or ():
            fail(sender, ActorStopped(reason))
        self._senders = None

    def _admit_sender(self) -> None:
        while self._senders:
            sender = self._senders.popleft()
            if not sender.done():
                sender.set_result(None)
                return
