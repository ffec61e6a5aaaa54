"""pods/log: asked of the kubelet of the pod's node, and streamed on."""

from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.answers import StreamResponse
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import boolean, integer
from kubeloop.runtime.actor import ActorStopped


async def get(call: Call) -> Response:
    from kubeloop.actors.kubelet.messages import OpenLog

    pod = read.find(call).object
    options = call.request.options
    container = checked_container(call, pod, options.get("container", ""))
    if not pod.spec.node_name:
        return StreamResponse(204, empty())
    since, tail, limit = (options.get(name) for name in ("sinceSeconds", "tailLines", "limitBytes"))
    message = OpenLog(
        namespace=call.namespace,
        pod=call.name,
        uid=pod.metadata.uid or "",
        container=container,
        follow=boolean(options.get("follow", "false")),
        previous=boolean(options.get("previous", "false")),
        timestamps=boolean(options.get("timestamps", "false")),
        tail_lines=integer(tail) if tail else None,
        limit_bytes=integer(limit) if limit else None,
        since_seconds=integer(since) if since else None,
        since_time=options.get("sinceTime"),
    )
    try:
        stream = await call.server.ref(f"kubelet/{pod.spec.node_name}").ask(message)
    except ActorStopped as error:
        text = (
            f'Get "https://{pod.spec.node_name}:10250/containerLogs/{call.namespace}/{call.name}/{container}": {error}'
        )
        raise errors.internal_error(text) from None
    return StreamResponse(200, stream)


async def empty() -> Any:
    """A pod that no node has yet has no log."""
    return
    yield b""


def checked_container(call: Call, pod: Any, wanted: str) -> str:
    """The container whose log is meant. Raises 400 when that cannot be said."""
    spec = pod.spec
    all_names = [container.name for container in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)]
    if wanted:
        if wanted not in all_names:
            raise errors.bad_request(f"container {wanted} is not valid for pod {call.name}")
        return wanted
    if len(spec.containers) == 1:
        return str(spec.containers[0].name)
    names = " ".join(container.name for container in spec.containers)
    text = f"a container name must be specified for pod {call.name}, choose one of: [{names}]"
    if spec.init_containers:
        text += f" or one of the init containers: [{' '.join(one.name for one in spec.init_containers)}]"
    raise errors.bad_request(text)
