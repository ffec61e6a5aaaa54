"""kubectl's logs. exec, attach, port-forward and proxies: test_kubectl_streams.py."""

import base64
import json
import subprocess

import aiohttp
import anyio
import pytest
import yaml

from kubeloop import Cluster
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.container_runtime.logs import LogBuffer
from kubeloop.actors.container_runtime.sim import SimBackend
from tests.clients.conftest import KUBECTL, Kubectl

pytestmark = pytest.mark.kubeloop(nodes=1)


def pod(name: str, *containers: str, restart: str = "Always", **scripts: str) -> str:
    """A pod as a manifest; `scripts`: its sim.kubeloop.io annotations, `_` for `-`, `__` for `.`."""
    annotations = {
        f"sim.kubeloop.io/{key.replace('__', '.').replace('_', '-')}": value for key, value in scripts.items()
    }
    spec = {"restartPolicy": restart, "containers": [{"name": one, "image": "example/a"} for one in containers]}
    metadata = {"name": name, "annotations": annotations}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def started(kubectl: Kubectl, name: str, manifest: str) -> None:
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.containerStatuses[0].containerID}", "--timeout=30s")


def test_logs_are_chosen_by_container_number_and_age(kubectl: Kubectl) -> None:
    started(kubectl, "x", pod("x", "c", log_lines="first\nsecond"))
    assert kubectl("logs", "x") == "first\nsecond\n"
    assert kubectl("logs", "x", "--tail=1") == "second\n"
    assert kubectl("logs", "x", "--tail=0") == ""
    assert kubectl("logs", "x", "--since=1h") == "first\nsecond\n"
    assert kubectl("logs", "x", "--since-time=2100-01-01T00:00:00Z") == ""
    assert kubectl("logs", "x", "--limit-bytes=5") == "first"
    assert kubectl("logs", "x", "--timestamps").splitlines()[0].endswith("Z first")
    started(kubectl, "two", pod("two", "a", "b", a__log_lines="from a", b__log_lines="from b"))
    assert kubectl("logs", "two", "-c", "b") == "from b\n"
    both = kubectl("logs", "two", "--all-containers", "--prefix").splitlines()
    assert sorted(both) == ["[pod/two/a] from a", "[pod/two/b] from b"]  # kubectl asks in the order of a Go map
    assert "Defaulted container" in kubectl("logs", "two")


def test_logs_that_cannot_be_had_are_refused_in_the_real_words(kubectl: Kubectl) -> None:
    started(kubectl, "x", pod("x", "c", log_lines="first"))
    assert 'previous terminated container "c" in pod "x" not found' in kubectl("logs", "x", "--previous", fails=True)
    assert "container zz is not valid for pod x" in kubectl("logs", "x", "-c", "zz", fails=True)
    assert 'pods "nobody" not found' in kubectl("logs", "nobody", fails=True)
    kubectl("apply", "-f", "-", stdin=pod("slow", "c", start_delay="1h"))
    kubectl("wait", "pod/slow", "--for=condition=PodScheduled", "--timeout=30s")
    said = kubectl("logs", "slow", fails=True)
    assert 'container "c" in pod "slow" is waiting to start: ContainerCreating' in said


def test_previous_is_the_log_of_the_attempt_before(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("crash", "c", log_lines="boom", exit_code="1", run_time="0.1"))
    kubectl("wait", "pod/crash", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=30s")
    assert kubectl("logs", "crash", "--previous") == "boom\n"


def test_a_followed_log_ends_with_its_container(kubectl: Kubectl) -> None:
    started(kubectl, "task", pod("task", "c", restart="Never", log_lines="only", run_time="1.5"))
    assert kubectl("logs", "-f", "task") == "only\n"


@pytest.mark.kubeloop(nodes=1, runtime="process")
def test_logs_of_a_process_come_as_it_writes(kubectl: Kubectl, environment: dict[str, str]) -> None:
    assert KUBECTL is not None
    command = ["sh", "-c", "echo one; sleep 0.5; echo two"]
    container = {"name": "c", "image": "example/a", "command": command}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "task"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    started(kubectl, "task", json.dumps(manifest))
    follow = subprocess.run(
        [KUBECTL, "logs", "-f", "task"], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert follow.stdout == "one\ntwo\n"
    assert kubectl("logs", "task", "--tail=1") == "two\n"


async def reaches(log: LogBuffer, followers: int) -> None:
    with anyio.fail_after(10):
        while len(log.followers) != followers:  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_a_client_that_hangs_up_frees_the_log_it_followed(cluster: Cluster) -> None:
    await cluster.apply(yaml.safe_load(pod("x", "c", log_lines="first")))
    await cluster.wait("pod/x", "Ready", timeout=30)
    config = yaml.safe_load((await cluster.serve()).read_text())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    live = cluster.system.slot("container-runtime/node-1").live
    assert live is not None and isinstance(live.actor, ContainerRuntimeActor)
    assert isinstance(live.actor.backend, SimBackend)
    (container,) = live.actor.backend._containers.values()
    assert container.log is not None
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.get(f"{cluster.url}/api/v1/namespaces/default/pods/x/log?follow=true", ssl=False)
        assert await answer.content.readline() == b"first\n"
        await reaches(container.log, 1)
        answer.close()
        await reaches(container.log, 0)


async def test_a_served_cluster_publishes_its_ca_in_every_namespace_also_after_a_crash(cluster: Cluster) -> None:
    assert not (await cluster.client.list("configmaps", "default")).items
    config = yaml.safe_load((await cluster.serve()).read_text())
    certificate = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    for namespace in ("default", "kube-system"):
        assert await published(cluster, namespace) == certificate
    cluster.crash("controller-manager")
    await cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: team}}")
    assert await published(cluster, "team") == certificate


async def published(cluster: Cluster, namespace: str) -> str:
    """What kube-root-ca.crt says, once it is there."""
    with anyio.fail_after(10):
        while True:
            found = await cluster.client.list("configmaps", namespace)
            for one in found.items:
                return str(one.data["ca.crt"])
            await anyio.sleep(0.01)
