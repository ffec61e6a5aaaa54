"""pods/log: every option, what is refused, and what a cut network does."""

import sys
from typing import Any

import pytest

from kubeloop import Cluster, StatusError, simulate
from kubeloop.runtime.faults import Partition

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, annotations: {sim.kubeloop.io/log-lines: "one\\ntwo\\nthree"}}
spec: {containers: [{name: web, image: x}]}
"""
BOTH_STREAMS = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  restartPolicy: Never
  containers: [{name: web, image: x, command: [sh, -c, "echo out; echo err >&2"]}]
"""


async def text(cluster: Cluster, **options: Any) -> str:
    return b"".join([chunk async for chunk in await cluster.client.logs("web", **options)]).decode()


@pytest.mark.kubeloop(nodes=1)
async def test_options_choose_what_comes(cluster: Cluster) -> None:
    await cluster.apply(POD)
    await cluster.wait("pod/web", "Ready")
    assert await text(cluster) == "one\ntwo\nthree\n"
    assert await text(cluster, tail_lines=1) == "three\n"
    assert await text(cluster, limit_bytes=6) == "one\ntw"
    assert await text(cluster, since_seconds=3600) == "one\ntwo\nthree\n"
    assert await text(cluster, since_time="2100-01-01T00:00:00Z") == ""
    assert await text(cluster, stream="Stdout") == "one\ntwo\nthree\n"
    assert await text(cluster, stream="Stderr") == ""
    assert (await text(cluster, timestamps=True, tail_lines=1)).endswith("Z three\n")


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
@pytest.mark.kubeloop(nodes=1, runtime="process")
async def test_the_two_streams_of_a_process_are_told_apart(cluster: Cluster) -> None:
    await cluster.apply(BOTH_STREAMS)
    await cluster.wait("pod/web", "Succeeded")
    assert await text(cluster, stream="Stdout") == "out\n"
    assert await text(cluster, stream="Stderr") == "err\n"
    assert sorted((await text(cluster, stream="All")).splitlines()) == ["err", "out"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"tail_lines": -1}, 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
    ({"limit_bytes": 0}, 422, "limitBytes: Invalid value: 0: must be greater than 0"),
    ({"since_seconds": 0}, 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
    (
        {"since_seconds": 1, "since_time": "2026-01-01T00:00:00Z"},
        422,
        ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
    ),
    ({"stream": "stdout"}, 422, 'stream: Unsupported value: "stdout": supported values: "All", "Stderr", "Stdout"'),
    (
        {"stream": "Stderr", "tail_lines": 1},
        422,
        ": Forbidden: `tailLines` and specific `stream` are mutually exclusive for now",
    ),
    ({"since_time": "yesterday"}, 400, 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00"'),
    ({"tail_lines": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
]


@pytest.mark.kubeloop(nodes=1)
async def test_options_that_make_no_sense_are_refused(cluster: Cluster) -> None:
    await cluster.apply(POD)
    for options, code, message in REFUSED:
        with pytest.raises(StatusError) as refused:
            await text(cluster, **options)
        assert refused.value.code == code and message in refused.value.message
        if code == 422:
            assert refused.value.message.startswith('PodLogOptions "web" is invalid: ')


def test_a_partition_breaks_a_followed_log_off() -> None:
    async def main() -> bytes:
        async with Cluster(nodes=1) as cluster:
            await cluster.apply(POD)
            await cluster.wait("pod/web", "Ready")
            log = await cluster.client.logs("web", follow=True)
            first = await anext(log)
            cluster.system.inject(Partition("node-1", "control-plane-0"))
            with pytest.raises(ConnectionError, match="the connection to the kubelet was cut"):
                await anext(log)
            with pytest.raises(StatusError, match='Get "https://node-1:10250/containerLogs/default/web/web"'):
                await text(cluster)
            return first

    assert simulate(main(), seed=1) == b"one\ntwo\nthree\n"


@pytest.mark.kubeloop(nodes=1)
async def test_a_log_that_is_over_leaves_no_connection(cluster: Cluster) -> None:
    await cluster.apply(POD)
    await cluster.wait("pod/web", "Ready")
    before = cluster.system.network.connections()
    await text(cluster)
    with pytest.raises(StatusError):
        await text(cluster, previous=True)
    assert cluster.system.network.connections() == before
