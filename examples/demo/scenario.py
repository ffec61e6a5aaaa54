"""What `kubeloop demo` does, step by step. Each step shows a table, and notes what it observed; all must hold."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import anyio
from rich.console import Console
from rich.table import Table

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.cli import stop_event
from kubeloop.actors.cluster import Cluster
from kubeloop.demo.traffic import Stream

PROGRAMS = Path(__file__).parent
ROW_MARK = "a-row-of-the-application"
STEP_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.01


class Demo:
    """The running cluster, and what has been observed so far."""

    def __init__(self, cluster: Cluster, console: Console, data: Path) -> None:
        self.cluster = cluster
        self.console = console
        self.data = data
        self.observed: dict[str, bool] = {}

    def observe(self, fact: str, holds: bool) -> None:
        self.observed[fact] = holds
        self.console.print(f"  [green]observed[/]: {fact}" if holds else f"  [red]NOT observed[/]: {fact}")

    def show(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*[str(cell) for cell in row])
        self.console.print(table)

    async def pods(self, app: str) -> list[Pod]:
        found = await self.cluster.client.list(Pod, "default", label_selector=f"app={app}")
        return [pod for pod in found.items if pod.metadata and not pod.metadata.deletion_timestamp]

    async def ready_pods(self, app: str) -> list[Pod]:
        return [pod for pod in await self.pods(app) if _is_ready(pod)]

    async def database_nodes(self) -> set[str]:
        """The nodes with a ready endpoint of the Service `database`, as kube-proxy sees them."""
        slices = await self.cluster.client.list(
            EndpointSlice, "default", label_selector="kubernetes.io/service-name=database"
        )
        return {
            endpoint.node_name or ""
            for one in slices.items
            for endpoint in one.endpoints
            if endpoint.conditions is not None and endpoint.conditions.ready
        }

    async def until(self, what: str, holds: Callable[[], Any]) -> float:
        """Waits, with the progress on screen; returns the clock when it held. `holds` may be async."""
        with self.console.status(what), anyio.fail_after(STEP_TIMEOUT_SECONDS):
            while True:
                answer = holds()
                if hasattr(answer, "__await__"):
                    answer = await answer
                if answer:
                    return self.cluster.system.clock.monotonic()
                await self.cluster.system.clock.sleep(POLL_SECONDS)


def _is_ready(pod: Pod) -> bool:
    conditions = pod.status.conditions if pod.status else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


def _url(pod: Pod) -> str:
    assert pod.status is not None
    return f"http://{pod.status.pod_ip}:8080/{ROW_MARK}"


async def show_processes(demo: Demo) -> None:
    rows = [(p.name, p.host, p.state, p.holds) for p in demo.cluster.processes()]
    demo.show("Every process of the architecture, an actor each", ("process", "host", "state", "holds"), rows)
    kinds = {name.split("/")[0] for name, _, state, _ in rows if state == "running"}
    wanted = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    demo.observe("all seven processes run", kinds >= wanted | {"kubelet", "kube-proxy", "container-runtime"})


async def show_placement(demo: Demo) -> None:
    text = Template((PROGRAMS / "demo.yaml").read_text()).substitute(
        PYTHON=sys.executable, PROGRAMS=PROGRAMS, DATA=demo.data
    )
    await demo.cluster.apply(text)

    async def all_ready() -> bool:
        return len(await demo.ready_pods("web")) == 2 and len(await demo.ready_pods("database")) == 2

    await demo.until("the scheduler places the pods, the kubelets start them", all_ready)
    pods = await demo.pods("database") + await demo.pods("web")
    rows = [(p.metadata.name, p.spec.node_name, p.status.pod_ip, p.status.phase) for p in pods]
    demo.show("Placed by the scheduler, started by the kubelets", ("pod", "node", "address", "phase"), rows)
    spread = Counter((p.metadata.labels["app"], p.spec.node_name) for p in pods)
    demo.observe("one web and one database pod run on each node", set(spread.values()) == {1} and len(spread) == 4)


async def show_local_traffic(demo: Demo) -> None:
    rows, local = [], True
    for pod in await demo.ready_pods("web"):
        answers = await _requests(demo, pod, count=20)
        nodes = Counter(answer.database_node or answer.error for answer in answers)
        node = pod.spec.node_name if pod.spec else ""
        local = local and set(nodes) == {node}
        rows.append((pod.metadata.name, node, ", ".join(f"{n}: {c}" for n, c in nodes.items())))
    demo.show("Requests to each web pod, and the database that answered", ("web pod", "on", "answered from"), rows)
    demo.observe("each web pod is answered by the database on its own node", local and len(rows) == 2)


async def _requests(demo: Demo, pod: Pod, count: int) -> Sequence[Any]:
    stream = Stream(lambda: _url(pod), demo.cluster.system.clock)
    child = demo.cluster.system.spawn(stream.run, name="requests")
    try:
        await demo.until("requests", lambda: len(stream.outcomes) >= count)
    finally:
        child.cancel()
    return stream.outcomes


async def show_killed_database(demo: Demo) -> None:
    clock = demo.cluster.system.clock
    web = next(pod for pod in await demo.ready_pods("web") if pod.spec and pod.spec.node_name == "node-1")
    victim = next(pod for pod in await demo.ready_pods("database") if pod.spec and pod.spec.node_name == "node-1")
    stream = Stream(lambda: _url(web), clock)
    child = demo.cluster.system.spawn(stream.run, name="requests")
    await demo.until("requests are answered on node-1", lambda: stream.answered_by("node-1", 0.0))
    killed = clock.monotonic()
    await demo.cluster.client.delete(victim, grace_period_seconds=0)

    async def endpoint_gone() -> bool:
        return "node-1" not in await demo.database_nodes()

    async def pod_back() -> bool:
        return "node-1" in await demo.database_nodes()

    gone = await demo.until("the endpoint leaves the service", endpoint_gone)
    await demo.until("the other node answers", lambda: stream.answered_by("node-2", killed))
    back = await demo.until("the controller brings the pod back", pod_back)
    await demo.until("traffic is local again", lambda: stream.answered_by("node-1", back))
    child.cancel()
    remote, local = stream.answered_by("node-2", killed), stream.answered_by("node-1", back)
    lost, lost_at_all = stream.lost(gone), stream.lost(killed)
    assert remote is not None and local is not None
    steps = (
        ("the database on node-1 is killed", 0.0),
        ("its endpoint has left the service", gone - killed),
        ("a request of node-1 is answered from node-2", remote.began - killed),
        ("a new database pod is ready on node-1", back - killed),
        ("a request of node-1 is answered on node-1 again", local.began - killed),
    )
    demo.show("A database killed under load", ("step", "seconds"), [(s, f"{t:.3f}") for s, t in steps])
    demo.console.print(
        f"  {len(stream.outcomes)} requests; {len(lost_at_all)} failed before the endpoint was gone, {len(lost)} after"
        if lost_at_all
        else f"  {len(stream.outcomes)} requests, none failed"
    )
    demo.observe("requests went on to the other node", True)
    demo.observe("no request was lost after the endpoint was gone", not lost)
    demo.observe("the controller brought the pod back, and traffic is local again", True)


async def show_lost_node(demo: Demo) -> None:
    clock = demo.cluster.system.clock
    node = demo.cluster.node("node-2")
    crashed = clock.monotonic()
    node.crash()

    async def not_ready() -> bool:
        lost = await demo.cluster.client.get("nodes", "node-2")
        return any(c.type == "Ready" and c.status != "True" for c in lost.status.conditions)

    async def moved() -> bool:
        pods = await demo.ready_pods("web") + await demo.ready_pods("database")
        return len(pods) == 4 and {pod.spec.node_name for pod in pods if pod.spec} == {"node-1"}

    noticed = await demo.until("the node controller notices the loss", not_ready)
    done = await demo.until("its pods are moved to node-1", moved)
    steps = (
        ("node-2 loses its power", 0.0),
        ("the node controller marks it not ready", noticed - crashed),
        ("its pods run on node-1", done - crashed),
    )
    demo.show("A node lost", ("step", "seconds"), [(s, f"{t:.3f}") for s, t in steps])
    answers = [answer for pod in await demo.ready_pods("web") for answer in await _requests(demo, pod, count=5)]
    demo.observe("the lost node's pods run on the other, and answer", all(a.database_node == "node-1" for a in answers))
    await node.restart()
    await demo.cluster.wait("node/node-2", "Ready", timeout=STEP_TIMEOUT_SECONDS)
    demo.observe("the node came back and is ready", True)


async def show_state(demo: Demo) -> None:
    everything = await demo.cluster.etcd.range(b"/registry/", b"/registry0")
    count, size = Counter[str](), Counter[str]()
    for kv in everything.kvs:
        prefix = "/".join(kv.key.decode().split("/")[:3])
        count[prefix] += 1
        size[prefix] += len(kv.value)
    rows = [(prefix, count[prefix], size[prefix]) for prefix in sorted(count)]
    demo.show(f"The whole state, read from etcd at revision {everything.revision}", ("prefix", "keys", "bytes"), rows)
    in_etcd = sum(ROW_MARK.encode() in kv.value for kv in everything.kvs)
    in_files = sum(ROW_MARK.encode() in path.read_bytes() for path in demo.data.iterdir())
    demo.observe(
        f"the rows are in the database's files ({in_files}), and none is in etcd", in_etcd == 0 and in_files > 0
    )


STEPS = (show_processes, show_placement, show_local_traffic, show_killed_database, show_lost_node, show_state)


async def play(*, keep: bool = False, console: Console | None = None) -> int:
    """Plays every step; returns the exit status, 0 only when everything was observed."""
    console = console or Console()
    with tempfile.TemporaryDirectory(prefix="kubeloop-demo-") as data:
        cluster = Cluster(
            nodes=2, runtime="process", node_monitor_grace_period_seconds=4.0, node_lease_duration_seconds=4.0
        )
        async with cluster:
            demo = Demo(cluster, console, Path(data))
            for step in STEPS:
                try:
                    await step(demo)
                except TimeoutError:
                    demo.observe(f"{step.__name__} within {STEP_TIMEOUT_SECONDS:g} s", False)
                    break
            await _say_how_to_go_on(demo, keep)
            missing = [fact for fact, holds in demo.observed.items() if not holds]
            console.print("[red]Not everything was observed.[/]" if missing else "[green]Everything was observed.[/]")
            return 1 if missing else 0


async def _say_how_to_go_on(demo: Demo, keep: bool) -> None:
    if not keep:
        demo.console.print(
            "\nTo open the same cluster with kubectl: `make demo KEEP=1` (or `kubeloop demo --keep`) leaves it\n"
            "running and prints its KUBECONFIG; `kubeloop up --nodes 2 --runtime process` starts an empty one."
        )
        return
    path = await demo.cluster.serve()
    demo.console.print("\nOpen it with kubectl, until you interrupt this:\n")
    demo.console.print(f"    export KUBECONFIG={path}\n    kubectl get pods -o wide")
    await stop_event().wait()


if os.name == "nt":  # sys.executable has backslashes, which YAML's double quotes would read as escapes
    sys.executable = Path(sys.executable).as_posix()
