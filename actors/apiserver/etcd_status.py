"""What etcd refuses, or cannot answer, as the Status that a real kube-apiserver makes of it.

Whatever is no Status yet becomes 500 with its own text and no reason: "etcdserver: mvcc: database space exceeded". A
connection's failure is worded by gRPC, a request whose time is over is 504.
"""

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.storage import out_of_time
from kubeloop.actors.etcd.messages import EtcdError

ETCD = "etcdserver: "
GRPC_OUT_OF_TIME = "Deadline Exceeded"


def status_of(error: Exception) -> StatusError:
    """Of what a KV raises: EtcdError and its kinds, ActorStopped, Unreachable; a StatusError is itself."""
    if isinstance(error, StatusError):
        return error
    text = str(error)
    code = error.code if isinstance(error, EtcdError) else "UNAVAILABLE"
    if text.startswith(ETCD):
        return errors.failure(500, "", text)
    if code == "DEADLINE_EXCEEDED" or text.endswith(GRPC_OUT_OF_TIME):
        return out_of_time()
    return errors.failure(500, "", f"rpc error: code = {go_code(code)} desc = {text}")


def go_code(code: str) -> str:
    """A gRPC status code's name as Go prints it: RESOURCE_EXHAUSTED is ResourceExhausted.

    >>> go_code("UNAVAILABLE")
    'Unavailable'
    """
    return "".join(word.capitalize() for word in code.split("_"))
