"""pods/log: asked of the kubelet of the pod's node, and streamed on."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.answers import StreamResponse
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.connections import unreachable
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import boolean, forbidden, integer, not_supported
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.clock import parse_rfc3339

STREAMS = ("All", "Stderr", "Stdout")


async def get(call: Call) -> Response:
    """Raises 422 for options that make no sense, 404, 400 when there is no such container or log."""
    from kubeloop.actors.kubelet.messages import OpenLog

    options = call.request.options
    chosen = checked_options(call.name, options) if options else {}
    pod = read.find(call).object
    container = checked_container(call, pod, options.get("container", ""))
    node = pod.spec.node_name
    if not node:
        return StreamResponse(204, empty())
    message = OpenLog(call.namespace, call.name, container, pod.metadata.uid or "", **chosen)
    kubelet = call.server.ref(f"kubelet/{node}")
    log = CarriedLog(call)
    try:
        log.connection = kubelet.open_connection(log.cut)
        log.stream = await kubelet.ask(message)
    except (ActorStopped, Unreachable) as error:
        await log.aclose()
        where = f"https://{node}:10250/containerLogs/{call.namespace}/{call.name}/{container}"
        raise errors.internal_error(f'Get "{where}": {unreachable(node, error).message}') from None
    except BaseException:
        await log.aclose()
        raise
    return StreamResponse(200, log)


class CarriedLog:
    """A log on its way from a kubelet: it breaks off when the network between is cut."""

    def __init__(self, call: Call) -> None:
        self.stream: Any = None
        self.connection: Any = None
        self._server = call.server
        self._cut = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises Unreachable when it breaks off."""
        async for chunk in self.stream:
            if self._cut:
                break
            yield chunk
        if self._cut:
            raise Unreachable("the connection to the kubelet was cut")

    def cut(self) -> None:
        self._cut = True
        if self.stream is not None:
            self._server.begin(self.stream.aclose, name="log")

    async def aclose(self) -> None:
        if self.connection is not None:
            self.connection.close()
        if self.stream is not None:
            await self.stream.aclose()


async def empty() -> Any:
    """A pod that no node has yet has no log."""
    return
    yield b""


def checked_options(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """PodLogOptions, checked as kube-apiserver does, with `stream` (an alpha feature there). Raises 400, 422."""
    since, tail, limit = (options.get(key) for key in ("sinceSeconds", "tailLines", "limitBytes"))
    since_seconds, tail_lines, limit_bytes = (integer(text) if text else None for text in (since, tail, limit))
    since_time, stream = options.get("sinceTime") or None, options.get("stream", "All")
    wrong: list[FieldError] = []
    if tail_lines is not None and tail_lines < 0:
        wrong.append(invalid("tailLines", tail_lines, "must be greater than or equal to 0"))
    if limit_bytes is not None and limit_bytes < 1:
        wrong.append(invalid("limitBytes", limit_bytes, "must be greater than 0"))
    if since_seconds is not None and since_time is not None:
        wrong.append(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif since_seconds is not None and since_seconds < 1:
        wrong.append(invalid("sinceSeconds", since_seconds, "must be greater than 0"))
    if stream not in STREAMS:
        wrong.append(not_supported("stream", stream, STREAMS))
    if stream != "All" and tail_lines is not None:
        wrong.append(forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"))
    if since_time is not None:
        check_time(since_time)
    if wrong:
        raise errors.invalid("", "PodLogOptions", name, wrong)
    return {
        "follow": boolean(options.get("follow", "false")),
        "previous": boolean(options.get("previous", "false")),
        "timestamps": boolean(options.get("timestamps", "false")),
        "tail_lines": tail_lines,
        "limit_bytes": limit_bytes,
        "since_seconds": since_seconds,
        "since_time": since_time,
        "stream": stream,
    }


def invalid(field: str, value: int, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, value, detail)


def check_time(text: str) -> None:
    """Raises 400 for what is no RFC 3339 time."""
    try:
        parse_rfc3339(text)
    except ValueError:
        raise errors.bad_request(
            f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"'
        ) from None


def checked_container(call: Call, pod: Any, wanted: str) -> str:
    """The container that is meant. Raises 400 when that cannot be said."""
    spec = pod.spec
    all_names = [container.name for container in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)]
    if wanted:
        if wanted not in all_names:
            raise errors.bad_request(f"container {wanted} is not valid for pod {call.name}")
        return wanted
    if len(spec.containers) == 1:
        return str(spec.containers[0].name)
    raise errors.bad_request(
        f"a container name must be specified for pod {call.name}, choose one of: [{' '.join(all_names)}]"
    )
