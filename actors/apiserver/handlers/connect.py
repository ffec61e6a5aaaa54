"""exec, attach and portforward: checked here, then passed on to the kubelet of the pod's node.

The handler answers a Way, not the streams: whoever connects the client opens it, when the client is ready.
"""

from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.connections import ConnectResponse, Way
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.handlers.logs import checked_container
from kubeloop.actors.apiserver.messages import Response, StreamOptions

STREAMED = ("exec", "attach", "portforward")
VERBS = ("create", "get")


async def exec_(call: Call) -> Response:
    """Raises 404, 400 for what names no container that could run a command."""
    from kubeloop.actors.kubelet.messages import ExecInContainer

    pod, options = read.find(call).object, options_of(call)
    container = checked_container(call, pod, options.container)
    node = node_of(call, pod)
    if not options.command:
        raise errors.bad_request("you must specify at least one command for the container")
    message = ExecInContainer(
        call.namespace, call.name, container, options.command, pod.metadata.uid or "",
        options.stdin, options.stdout, options.stderr, options.tty,
    )  # fmt: skip
    return ConnectResponse(101, Way(call.server, node, message))


async def attach(call: Call) -> Response:
    from kubeloop.actors.kubelet.messages import AttachToContainer

    pod, options = read.find(call).object, options_of(call)
    container = checked_container(call, pod, options.container)
    node = node_of(call, pod)
    uid = pod.metadata.uid or ""
    message = AttachToContainer(
        call.namespace, call.name, container, uid, options.stdin, options.stdout, options.stderr
    )
    return ConnectResponse(101, Way(call.server, node, message))


async def portforward(call: Call) -> Response:
    """The Way's message asks for port 0: whether the pod is there. Others ask for a port each."""
    from kubeloop.actors.kubelet.messages import ForwardPort

    pod = read.find(call).object
    message = ForwardPort(call.namespace, call.name, 0, pod.metadata.uid or "")
    return ConnectResponse(101, Way(call.server, node_of(call, pod), message))


def options_of(call: Call) -> StreamOptions:
    body = call.request.body
    if isinstance(body, StreamOptions):
        return body
    return msgspec.convert(body, StreamOptions) if body else StreamOptions()


def node_of(call: Call, pod: Any) -> str:
    """Raises 400 for a pod without a node, 404 for a node that is not there any more."""
    node = pod.spec.node_name
    if not node:
        raise errors.bad_request(f"pod {call.name} does not have a host assigned")
    if call.server.lookup("nodes", "", node) is None:
        raise errors.not_found("nodes", node)
    return str(node)
