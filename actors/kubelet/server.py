"""The kubelet's own HTTP server, as nodes/NAME/proxy reaches it: its read endpoints, on streams, without a socket.

Served: /healthz, /pods, /runningpods/, /containerLogs/NAMESPACE/POD/CONTAINER, /metrics, /configz. All else is 404.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api import codec
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.kubelet.logs import open_log
from kubeloop.actors.kubelet.messages import KubeletError, OpenLog, ServeHttp
from kubeloop.actors.kubelet.streams import hold
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.metrics import Registry
from kubeloop.runtime.stream_transport import PipeTransport
from kubeloop.runtime.streams import Streams

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.kubelet.actor import Kubelet

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
CLOSE_SECONDS = 1.0


async def serve_http(kubelet: "Kubelet", _: ServeHttp) -> Streams:
    """A connection to the server. KubeletError when there are too many."""
    if kubelet.streams.full:
        raise KubeletError(429, "too many streams are open at this kubelet")
    streams = Streams()
    child = kubelet.spawn(_serve, kubelet, streams, name="http")
    streams.on_close = child.cancel
    hold(kubelet, streams)
    return streams


async def _serve(kubelet: "Kubelet", streams: Streams) -> None:
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await _answer(kubelet, request)

    assert streams.stdin is not None and streams.stdout is not None
    server = web.Server(handle, access_log=None)
    try:
        await PipeTransport(streams.stdin, streams.stdout, server()).run()
        await server.shutdown(CLOSE_SECONDS)
    except Exception as error:
        kubelet.log.exception("http_failed", exc_info=error)
    finally:
        streams.finish()


async def _answer(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    first = request.path.strip("/").partition("/")[0]
    handler = HANDLERS.get(first)
    if handler is None:
        return web.Response(status=404, text="404 page not found\n")
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, text="Method Not Allowed\n")
    return await handler(kubelet, request)


async def _healthz(_: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    return web.Response(text="ok")


async def _pods(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    return _pod_list([worker.pod for worker in kubelet.workers.values()])


async def _running_pods(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    running = [
        worker.pod for worker in kubelet.workers.values() if any(record.running for record in worker.records.values())
    ]
    return _pod_list(running)


def _pod_list(pods: list[Any]) -> "web.StreamResponse":
    from aiohttp import web

    items = b",".join(codec.encode(pod) for pod in pods)
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[' + items + b"]}"
    return web.Response(body=body, content_type=JSON)


async def _container_logs(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    parts = request.path.strip("/").split("/")
    if len(parts) != 4:
        return web.Response(status=404, text="404 page not found\n")
    query = request.query
    tail, limit = query.get("tailLines", ""), query.get("limitBytes", "")
    message = OpenLog(
        parts[1],
        parts[2],
        parts[3],
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        tail_lines=int(tail) if tail.isdigit() else None,
        limit_bytes=int(limit) if limit.isdigit() else None,
    )
    try:
        stream = await open_log(kubelet, message)
    except (StatusError, ActorStopped) as error:
        return web.Response(status=getattr(error, "code", 500), text=f"{error}\n")
    response = web.StreamResponse(headers={"Content-Type": TEXT})
    try:
        await response.prepare(request)
        async for chunk in stream:
            await response.write(chunk)
        await response.write_eof()
    finally:
        await stream.aclose()
    return response


async def _metrics(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    metrics = Registry()
    metrics.gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",)).labels(
        kubelet.identity.name
    ).set(1)
    records = [record for worker in kubelet.workers.values() for record in worker.records.values()]
    sandboxes = sum(worker.sandbox is not None and worker.sandbox.ready for worker in kubelet.workers.values())
    metrics.gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox").labels().set(sandboxes)
    containers = metrics.gauge(
        "kubelet_running_containers", "Number of containers currently running", ("container_state",)
    )
    containers.labels("running").set(sum(record.running for record in records))
    containers.labels("exited").set(sum(record.exited for record in records))
    return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _configz(kubelet: "Kubelet", request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    config = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "nodeLeaseDurationSeconds": int(kubelet.lease_duration_seconds),
        "podCIDR": kubelet.identity.pod_cidr,
    }
    return web.json_response({"kubeletconfig": config})


HANDLERS: dict[str, Callable[["Kubelet", "web.BaseRequest"], Awaitable["web.StreamResponse"]]] = {
    "healthz": _healthz,
    "pods": _pods,
    "runningpods": _running_pods,
    "containerLogs": _container_logs,
    "metrics": _metrics,
    "configz": _configz,
}
