"""Loopback addresses for pods and services of the `process` runtime, so that several may listen on the same port.

Linux answers on all of 127.0.0.0/8 without any set-up, so a cluster reserves a 127.X.0.0/16 of its own: node N's pods
get 127.X.N.0/24 and its kube-proxy listens in 127.X.(N+128).0/24. Elsewhere (macOS, Windows) only 127.0.0.1 is there:
all pods share it, and two of them cannot listen on the same port.
"""

import socket
import sys

NODES_MAX = 126
FIRST_BLOCK = 32
BLOCKS = 192
RESERVATION_PORT = 10250  # the kubelet's own


def usable() -> bool:
    """Whether all of 127.0.0.0/8 can be listened on."""
    return sys.platform.startswith("linux")


class LoopbackBlock:
    """A reserved 127.X.0.0/16; other clusters on this machine see that it is taken until `close()`."""

    def __init__(self) -> None:
        self.octet = 0
        self._socket: socket.socket | None = None
        if not usable():
            return
        for octet in range(FIRST_BLOCK, FIRST_BLOCK + BLOCKS):
            candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                candidate.bind((f"127.{octet}.0.1", RESERVATION_PORT))
            except OSError:
                candidate.close()
                continue
            self.octet, self._socket = octet, candidate
            return
        raise OSError(f"no free loopback block: all {BLOCKS} from 127.{FIRST_BLOCK}.0.0/16 are taken")

    def pod_cidr(self, node_index: int) -> str:
        """The pods' range of node `node_index` (from 1); empty where there is only 127.0.0.1."""
        return self._range(node_index) if self.octet else ""

    def service_cidr(self, node_index: int) -> str:
        """The range in which that node's kube-proxy listens; empty where there is only 127.0.0.1."""
        return self._range(node_index, 128) if self.octet else ""

    def _range(self, node_index: int, offset: int = 0) -> str:
        if not 1 <= node_index <= NODES_MAX:
            raise ValueError(f"node index {node_index}: the process runtime has room for nodes 1 to {NODES_MAX}")
        return f"127.{self.octet}.{node_index + offset}.0/24"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
