"""A day of an idle cluster passes in seconds, and nothing happens in it but leases and heartbeats."""

from collections import Counter

from kubeloop import Cluster, simulate
from kubeloop.store.model import Event

DAY_SECONDS = 86_400


async def a_day() -> tuple[Counter[str], list[str]]:
    writes = Counter[str]()
    async with Cluster(nodes=10, seed=1) as cluster:
        await cluster.system.clock.sleep(60)

        def count(events: list[Event]) -> None:
            writes.update(event.kv.key.decode().split("/")[2] for event in events)

        await cluster.etcd.watch(b"/registry/", b"/registry0", sink=count)
        await cluster.system.clock.sleep(DAY_SECONDS)
        nodes = (await cluster.client.list("nodes")).items
        ready = [c.status for node in nodes for c in node.status.conditions if c.type == "Ready"]
    return writes, ready


def test_an_idle_day_writes_leases_and_heartbeats_only() -> None:
    writes, ready = simulate(a_day(), seed=1)
    assert ready == ["True"] * 10
    assert 10 * DAY_SECONDS / 12 < writes["leases"] < 10 * DAY_SECONDS / 9  # every 10 s, give or take
    assert writes["minions"] <= 10 * DAY_SECONDS / 200  # every 5 minutes
    assert set(writes) <= {"leases", "minions", "events"}
