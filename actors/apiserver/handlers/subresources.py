"""The table of subresources beside status: (verb, name) -> handler."""

from collections.abc import Awaitable, Callable, Mapping

from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import (
    approval,
    binding,
    connect,
    eviction,
    finalize,
    logs,
    pods,
    proxy,
    read,
    scale,
    token,
)
from kubeloop.actors.apiserver.messages import Response

HANDLERS: Mapping[tuple[str, str], Callable[[Call], Awaitable[Response]]] = {
    ("get", "scale"): scale.get,
    ("update", "scale"): scale.update,
    ("patch", "scale"): scale.patch,
    ("create", "binding"): binding.create,
    ("create", "eviction"): eviction.create,
    ("get", "log"): logs.get,
    ("get", "ephemeralcontainers"): read.get,
    ("update", "ephemeralcontainers"): pods.update_ephemeral_containers,
    ("patch", "ephemeralcontainers"): pods.patch_ephemeral_containers,
    ("get", "resize"): read.get,
    ("update", "resize"): pods.update_resize,
    ("patch", "resize"): pods.patch_resize,
    ("update", "finalize"): finalize.update,
    ("create", "token"): token.create,
    ("get", "approval"): read.get,
    ("update", "approval"): approval.update,
    ("patch", "approval"): approval.patch,
    **{(verb, "exec"): connect.exec_ for verb in connect.VERBS},
    **{(verb, "attach"): connect.attach for verb in connect.VERBS},
    **{(verb, "portforward"): connect.portforward for verb in connect.VERBS},
    **{(verb, "proxy"): proxy.connect for verb in proxy.VERBS},
}
