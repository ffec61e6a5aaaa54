"""aiohttp's server, answering what it cannot read as kube-apiserver does: unknown methods and broken requests."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.http_answer import send_text
from kubeloop.actors.apiserver.negotiate import JSON

if TYPE_CHECKING:
    from aiohttp import web

TOO_LARGE = "431 Request Header Fields Too Large"
BAD_REQUEST = "400 Bad Request"


@lru_cache(1)
def server_class() -> Any:
    """A web.Server whose connections answer so."""
    from aiohttp import web, web_protocol
    from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

    class Connection(web_protocol.RequestHandler):
        __slots__ = ()

        def handle_error(
            self,
            request: web.BaseRequest,
            status: int = 500,
            exc: BaseException | None = None,
            message: str | None = None,
        ) -> web.StreamResponse:
            if status != 400:
                return super().handle_error(request, status, exc, message)
            if isinstance(exc, BadHttpMethod):
                answer = status_answer(errors.method_not_supported())
            else:
                too_large = isinstance(exc, LineTooLong)
                answer = send_text(request, 431 if too_large else 400, TOO_LARGE if too_large else BAD_REQUEST)
            answer.force_close()
            return answer

    class Server(web.Server):
        def __call__(self) -> web_protocol.RequestHandler:
            return Connection(self, loop=self._loop, **self._kwargs)

    return Server


def status_answer(error: errors.StatusError) -> "web.StreamResponse":
    from aiohttp import web

    return web.json_response(error.status, status=error.code, content_type=JSON)
