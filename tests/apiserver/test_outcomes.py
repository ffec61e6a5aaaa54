"""A remembered spec is created as one seen for the first time."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api import codec
from kubeloop.actors.api.core_v1 import Container, EnvVar, Pod, PodSpec, PodStatus
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference
from kubeloop.actors.apiserver import outcomes
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.cluster import Cluster

WITHOUT = ("scheduler", "controller-manager", "kubelet", "kube-proxy", "container-runtime")


def pod(name: str, *, image: str = "example/app:1", **spec: Any) -> Pod:
    containers = (Container(name="app", image=image),)
    return Pod(metadata=ObjectMeta(name=name, labels={"app": "a"}), spec=PodSpec(containers=containers, **spec))


async def test_pods_of_equal_specs_share_spec_and_status() -> None:
    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        first, second = [await cluster.client.create(pod(name)) for name in ("a", "b")]
    assert second.spec is first.spec and second.status is first.status
    assert (first.metadata.name, second.metadata.name) == ("a", "b")
    assert first.metadata.uid != second.metadata.uid


@pytest.mark.parametrize(
    "metadata",
    [
        ObjectMeta(name="b", labels={"app": "a"}, annotations={"a": ":[]"}, finalizers=("example.com/f",)),
        ObjectMeta(name="b", owner_references=[OwnerReference(api_version="v1", kind="Node", name="n", uid="u")]),
        ObjectMeta(name="b", owner_references=[], finalizers=[]),
        ObjectMeta(generate_name="b-"),
    ],
)
async def test_the_stored_form_is_that_of_the_whole_object(metadata: ObjectMeta) -> None:
    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        await cluster.client.create(pod("a"))
        made = await cluster.client.create(replace(pod("b"), metadata=metadata, status=PodStatus(phase="Failed")))
        found = await cluster.etcd.range(f"/registry/pods/default/{made.metadata.name}".encode())
    unversioned = replace(made, metadata=replace(made.metadata, resource_version=None))
    assert found.kvs[0].value == codec.encode(unversioned)
    assert made.status.phase == "Pending"


async def test_warnings_come_each_time() -> None:
    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        twice = (EnvVar(name="A", value="1"), EnvVar(name="A", value="2"))
        spec = PodSpec(containers=(Container(name="app", image="example/app:1", env=twice),))
        told: list[Sequence[str]] = []
        for name in ("a", "b"):
            body = Pod(metadata=ObjectMeta(name=name), spec=spec)
            user = UserInfo(name="u", groups=("system:masters",))
            request = Request("create", "", "v1", "pods", namespace="default", body=body, user=user)
            told.append((await cluster.client.transport.request(request)).warnings)
    assert told[0] and list(told[1]) == list(told[0])


async def test_what_is_wrong_stays_wrong() -> None:
    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        for _ in range(2):
            with pytest.raises(StatusError) as refused:
                await cluster.client.create(pod("a", restart_policy="Sometimes"))
            assert refused.value.code == 422
        await cluster.client.create(pod("a"))
        for name, code in (("a", 409), ("B", 422)):
            with pytest.raises(StatusError) as refused:
                await cluster.client.create(pod(name))
            assert refused.value.code == code
        with pytest.raises(StatusError) as refused:
            await cluster.client.create(pod("c"), namespace="nowhere")
        assert refused.value.code == 404


async def test_a_new_default_priority_holds_for_specs_seen_before() -> None:
    from kubeloop.actors.api.scheduling_v1 import PriorityClass

    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        assert (await cluster.client.create(pod("a"))).spec.priority == 0
        await cluster.client.create(PriorityClass(metadata=ObjectMeta(name="high"), value=7, global_default=True))
        assert (await cluster.client.create(pod("b"))).spec.priority == 7


async def test_a_service_account_is_looked_up_each_time() -> None:
    from kubeloop.actors.api.core_v1 import ServiceAccount

    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        await cluster.client.create(ServiceAccount(metadata=ObjectMeta(name="robot")))
        await cluster.client.create(pod("a", service_account_name="robot"))
        await cluster.client.delete("serviceaccounts", "robot")
        with pytest.raises(StatusError) as refused:
            await cluster.client.create(pod("b", service_account_name="robot"))
        assert refused.value.code == 403


async def test_the_oldest_spec_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "REMEMBERED_MAX", 2)
    async with Cluster(nodes=0, without=WITHOUT) as cluster:
        images = ("one", "two", "three", "one", "three")
        made = [await cluster.client.create(pod(f"p{n}", image=image)) for n, image in enumerate(images)]
    assert made[3].spec is not made[0].spec and made[3].spec == made[0].spec
    assert made[4].spec is made[2].spec
