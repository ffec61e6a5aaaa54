"""What talking to an actor can end in. Import them from `kubeloop.runtime.actor`."""

from typing import Any


class ReplyError(Exception):
    """Raised by `on_message`, this is an answer: it is raised again at the asker, and the actor lives on."""


class UnknownMessage(ReplyError):
    """The actor has no handler for a message of this type."""

    def __init__(self, message: Any) -> None:
        super().__init__(f"unknown message {type(message).__module__}.{type(message).__qualname__}")


class ActorStopped(Exception):
    """The actor does not run (never started, stopped, crashed, or its host is down), or it ended before it answered."""


class MailboxFull(Exception):
    """The actor has as many messages waiting as its `mailbox_messages_max` allows."""


class Unreachable(Exception):
    """The network does not carry messages between the two hosts, or the connection was cut before the answer came."""


class RestartLimitExceeded(Exception):
    """An actor crashed more often than its RestartPolicy allows; its System ends with this error."""
