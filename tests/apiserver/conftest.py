"""A real API server over a real embedded etcd, in process; over HTTP where bytes matter."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.http import HttpServer
from kubeloop.actors.apiserver.messages import Request, Response, UserInfo, WatchEvent, WatchHandle, WatchRequest
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.system import System

HOST = "control-plane-0"
ADMIN = UserInfo("admin", ("system:masters", "system:authenticated"))
GROUPS = {"deployments": "apps", "leases": "coordination.k8s.io", "customresourcedefinitions": "apiextensions.k8s.io"}


class Recorder:
    """A watch sink that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.closed: list[Exception | None] = []

    def on_event(self, event: WatchEvent) -> None:
        self.events.append(event)

    def on_closed(self, error: Exception | None) -> None:
        self.closed.append(error)

    def told(self) -> list[tuple[str, str]]:
        return [(event.type, event.object.metadata.name) for event in self.events]


class Server:
    """Speaks to the API server as an in-process client does."""

    def __init__(self, system: System, config: ApiServerConfig) -> None:
        self.system = system
        self.config = config
        self.ref = system.ref("kube-apiserver", source_host=HOST)

    async def call(
        self,
        verb: str,
        resource: str,
        name: str = "",
        body: Any = None,
        *,
        namespace: str = "default",
        subresource: str = "",
        content_type: str = "application/json",
        group: str | None = None,
        **options: str,
    ) -> Any:
        group = GROUPS.get(resource, "") if group is None else group
        given: Mapping[str, str] = {key.rstrip("_"): value for key, value in options.items()}
        request = Request(verb, group, "v1", resource, namespace, name, subresource, body, content_type, given, ADMIN)
        response: Response = await self.ref.ask(request)
        return response.body

    async def watch(self, resource: str, *, namespace: str = "", **options: str) -> tuple[Recorder, WatchHandle]:
        recorder = Recorder()
        request = Request("watch", GROUPS.get(resource, ""), "v1", resource, namespace, options=options, user=ADMIN)
        handle: WatchHandle = await self.ref.ask(WatchRequest(request, recorder))
        return recorder, handle


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    config = ApiServerConfig(tokens={"secret": ADMIN})
    async with System(clock=Clock(seed=1)) as system:
        await system.start(EtcdActor, name="etcd", host=HOST)
        kv = ActorKV(system.ref("etcd", source_host=HOST))
        await system.start(lambda: ApiServer(kv, config=config), name="kube-apiserver", host=HOST)
        yield Server(system, config)


@pytest.fixture
async def http(server: Server) -> AsyncIterator[HttpServer]:
    clock = server.system.clock
    log = get_logger(clock=clock, actor="kube-apiserver", host=HOST)
    listening = HttpServer(server.ref, server.config, clock, log, ("127.0.0.1", 0))
    await listening.start(None)
    yield listening
    await listening.close()
