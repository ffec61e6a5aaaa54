"""What a pod worker remembers of one container: the runtime's last word on it, and the kubelet's own counts."""

from kubeloop.actors.container_runtime.messages import CONTAINER_EXITED, CONTAINER_RUNNING, ContainerStatus
from kubeloop.actors.kubelet.backoff import BackOff


class ContainerRecord:
    """`status`: the last attempt, of this sandbox or an older one. `previous`: the attempt before it.

    waiting: (reason, message) why there is no attempt now. retry_at: when to try again (unix seconds).
    kill_message: it is being stopped because of that. started, ready: what the probes say.
    told_backoff: the attempt after whose end the BackOff event was recorded.
    """

    __slots__ = (
        "backoff", "kill_message", "previous", "ready", "restart_count", "retry_at", "started", "status",
        "told_backoff", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status: ContainerStatus | None = None
        self.previous: ContainerStatus | None = None
        self.restart_count = 0
        self.backoff: BackOff | None = None
        self.waiting: tuple[str, str] | None = None
        self.retry_at = 0.0
        self.started = False
        self.ready = False
        self.kill_message = ""
        self.told_backoff = ""

    @property
    def running(self) -> bool:
        return self.status is not None and self.status.state == CONTAINER_RUNNING

    @property
    def exited(self) -> bool:
        return self.status is not None and self.status.state == CONTAINER_EXITED
