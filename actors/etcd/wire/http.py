"""What etcd answers to plain HTTP on its client port: /health, /livez, /readyz, /version and /metrics.

Over HTTP/1.1 by aiohttp, and over HTTP/2 for clients that agreed on it by TLS. Follows the monitoring page of etcd.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_headers import Head, literal
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.services_maintenance import CLUSTER_VERSION, VERSION
from kubeloop.runtime.metrics import Registry

if TYPE_CHECKING:
    from aiohttp import web

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Answer(Struct, frozen=True):
    status: int
    content_type: str
    body: bytes


class HttpPages:
    """The pages, whichever way they are asked for."""

    def __init__(self, etcd: EtcdActor, metrics: Registry) -> None:
        self._etcd = etcd
        self._metrics = metrics
        self._pages: dict[str, Callable[[], Answer]] = {
            "/health": self._health,
            "/livez": self._alive,
            "/readyz": self._ready,
            "/version": self._version,
            "/metrics": self._metrics_text,
        }
        self._watch_state()

    def answer(self, method: str, path: str) -> Answer:
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            return Answer(404, TEXT, b"404 page not found\n")
        if method not in ("GET", "HEAD"):
            return Answer(405, TEXT, b"Method Not Allowed\n")
        return page()

    def _raised(self) -> list[str]:
        return sorted({alarm.type for alarm in self._etcd.alarms.values()})

    def _health(self) -> Answer:
        raised = self._raised()
        reason = f"ALARM {raised[0]}" if raised else ""
        body = json.dumps({"health": "false" if raised else "true", "reason": reason}, separators=(",", ":"))
        return Answer(503 if raised else 200, JSON, body.encode())

    def _alive(self) -> Answer:
        return Answer(200, TEXT, b"ok\n")

    def _ready(self) -> Answer:
        """Not ready while its data are known to be corrupt; without space it still reads."""
        if "CORRUPT" in self._raised():
            return Answer(503, TEXT, b"[-]data_corruption failed: alarm activated: CORRUPT\n")
        return Answer(200, TEXT, b"ok\n")

    def _version(self) -> Answer:
        body = json.dumps({"etcdserver": VERSION, "etcdcluster": CLUSTER_VERSION}, separators=(",", ":"))
        return Answer(200, JSON, body.encode())

    def _metrics_text(self) -> Answer:
        """With what the operating system says of the process, which `etcdctl check datascale` reads."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=process)
        return Answer(200, METRICS, self._metrics.text() + generate_latest(process))

    def _watch_state(self) -> None:
        """The metrics that are read from the store when somebody asks."""
        etcd = self._etcd
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "etcd_server_has_leader": ("Whether or not a leader exists. 1 is existence, 0 is not.", lambda: 1),
            "etcd_server_is_leader": ("Whether or not this member is a leader. 1 if is, 0 otherwise.", lambda: 1),
            "etcd_mvcc_db_total_size_in_bytes": (
                "Total size of the underlying database physically allocated in bytes.",
                lambda: etcd.status().db_size,
            ),
            "etcd_mvcc_db_total_size_in_use_in_bytes": (
                "Total size of the underlying database logically in use in bytes.",
                lambda: etcd.status().db_size_in_use,
            ),
            "etcd_debugging_mvcc_keys_total": ("Total number of keys.", lambda: etcd.store.keys),
            "etcd_debugging_mvcc_watcher_total": ("Total number of watchers.", lambda: etcd.store.watches),
            "etcd_debugging_mvcc_current_revision": ("The current revision of store.", lambda: etcd.revision),
            "etcd_debugging_mvcc_compact_revision": (
                "The revision of the last compaction in store.",
                lambda: etcd.store.compact_revision,
            ),
            "etcd_debugging_lease_total": ("The number of leases.", lambda: len(etcd.store.leases)),
        }
        for name, (help_text, read) in gauges.items():
            self._metrics.gauge(name, help_text).labels().set_function(read)
        version = self._metrics.gauge("etcd_server_version", "Which version is running.", ("server_version",))
        version.labels(VERSION).set(1)


class PageStream(Stream):
    """A plain request over HTTP/2. A body is read and dropped."""

    __slots__ = ("_pages",)

    def __init__(self, connection: Http2Connection, stream_id: int, head: Head, pages: HttpPages) -> None:
        super().__init__(connection, stream_id, head)
        self._pages = pages

    def data_received(self, data: bytes, ended: bool) -> None:
        self.consumed(len(data))
        if not ended:
            return
        method, path = self.head.method.decode("latin-1"), self.head.path.decode("latin-1")
        answer = self._pages.answer(method, path)
        headers = (
            literal(b":status", b"%d" % answer.status)
            + literal(b"content-type", answer.content_type.encode())
            + literal(b"content-length", b"%d" % len(answer.body))
        )
        if method == "HEAD":
            self.write_headers(headers, end=True)
            return
        self.write_headers(headers)
        self.write(answer.body)
        self.end()


def http1_server(pages: HttpPages) -> "web.Server":
    """A factory of protocols for connections that turned out to speak HTTP/1.1."""
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        answer = pages.answer(request.method, request.path)
        headers = {"Content-Type": answer.content_type}
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    return web.Server(handle, access_log=None)
