"""exec, attach, portforward and proxy: what would connect a client with a container or a server. Not served yet."""

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.messages import Response

CONNECTED = {"exec": "exec", "attach": "attach", "portforward": "port-forward", "proxy": "proxy"}
VERBS = ("create", "delete", "get", "patch", "update")


async def refuse(call: Call) -> Response:
    """Raises 404 for a pod or node that is not there, 501 for the others. A service's name may bring its port along."""
    resource = call.route.resource.plural
    if resource != "services":
        read.find(call)
    text = f"{CONNECTED[call.request.subresource]} to {resource} is not served by this version of kubeloop"
    raise errors.not_implemented(text)
