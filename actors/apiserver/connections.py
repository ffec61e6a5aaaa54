"""The way from the API server to a kubelet: streams over the network between them, with the errors that it can have.

Nothing here knows of HTTP; the client in the process and http_streams.py come through here.
"""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.messages import Response, StreamOptions
from kubeloop.runtime.actor import ActorStopped, ReplyError, Unreachable
from kubeloop.runtime.streams import Streams

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

KUBELET_PORT = 10250


class KubeletRefused(Exception):
    """The kubelet was there, and answered with an HTTP error that is no Status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    def status(self) -> StatusError:
        """As who is connected already is told of it."""
        return errors.internal_error(f"unable to upgrade connection: {self.text}")


class Way:
    """To the kubelet of `node`. `message` is asked; answered with streams."""

    def __init__(self, server: "ApiServer", node: str, message: Any) -> None:
        self.message = message
        self._server = server
        self._node = node

    async def ask(self, message: Any) -> Any:
        """The kubelet's answer. Raises KubeletRefused; StatusError when the kubelet cannot be reached."""
        try:
            return await self._server.ref(f"kubelet/{self._node}").ask(message)
        except (ActorStopped, Unreachable) as error:
            raise unreachable(self._node, error) from None
        except StatusError:
            raise
        except ReplyError as error:
            raise KubeletRefused(getattr(error, "code", 500), str(error)) from None

    async def open(self, message: Any = None) -> Streams:
        """Streams, which end with this API server and with the network to the node. Raises as `ask` does."""
        server = self._server
        if server.streams.full:
            text = f"the API server has {server.streams.streams_max} streams open already, please try again later"
            raise errors.too_many_requests(text)
        streams: Streams = await self.ask(self.message if message is None else message)
        streams.claimed = True
        kubelet = server.ref(f"kubelet/{self._node}")
        try:
            streams.carry(server.context.network, server.context.host, kubelet.host)
        except Unreachable as error:
            streams.abort(error)
            raise unreachable(self._node, error) from None
        server.streams.add(streams)
        return streams

    async def connect(self, options: StreamOptions) -> Streams:
        """As `open`, for a client in the process; to the port that the options name. Raises StatusError."""
        try:
            return await self.open(replace(self.message, port=options.ports[0]) if options.ports else None)
        except KubeletRefused as refused:
            raise refused.status() from None


class ConnectResponse(Response, frozen=True):
    """101: the client may be connected; the body is the Way."""


def unreachable(node: str, error: Exception) -> StatusError:
    """500 for a kubelet that does not answer."""
    return errors.internal_error(f"error dialing backend: dial tcp {node}:{KUBELET_PORT}: {error}")
