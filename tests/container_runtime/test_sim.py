import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.sim import SimBackend, SimContext
from kubeloop.runtime.simulation import simulate
from tests.container_runtime.harness import POD, node

WEB = m.ContainerConfig("web", "web:1")


def scripted(**annotations: str) -> m.PodSandboxConfig:
    names = {f"sim.kubeloop.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return replace(POD, annotations=names)


def test_a_container_runs_until_it_is_stopped_without_a_task_or_a_timer() -> None:
    async def main() -> None:
        async with node(SimBackend()) as one:
            before = len(asyncio.all_tasks())
            status = await one.start(await one.sandbox(), WEB)
            assert status.state == m.CONTAINER_RUNNING
            await asyncio.sleep(86_400)
            assert (await one.status(status.id)).state == m.CONTAINER_RUNNING
            assert len(asyncio.all_tasks()) == before
            await one.runtime.ask(m.StopContainer(status.id, 30))
            assert (await one.status(status.id)).exit_code == 0
            await asyncio.sleep(0.1)
            assert [type(message) for message in one.heard] == [m.RuntimeReady, m.ContainerEvent]

    simulate(main(), seed=1)


def test_pods_have_addresses_of_their_own_and_give_them_back() -> None:
    async def main() -> None:
        async with node(SimBackend(pod_cidr="10.244.7.0/29")) as one:
            made = [await one.sandbox(replace(POD, uid=str(number))) for number in range(5)]
            assert [sandbox.ip for sandbox in made] == [f"10.244.7.{number}" for number in range(2, 7)]
            with pytest.raises(m.RuntimeServiceError, match="no IP addresses available"):
                await one.sandbox()
            await one.runtime.ask(m.StopPodSandbox(made[0].id))
            assert (await one.sandbox()).ip == made[0].ip

    simulate(main(), seed=1)


def test_a_script_says_how_long_a_container_runs_and_how_it_ends() -> None:
    async def main() -> None:
        async with node(SimBackend()) as one:
            config = scripted(start_delay="3", run_time="1m", exit_code="7", log_lines="hello\nworld")
            status = await one.start(await one.sandbox(config), WEB)
            ended = await one.ended(status.id)
            assert (ended.exit_code, ended.reason, ended.finished_at - ended.started_at) == (7, "Error", 60.0)
            assert ended.started_at - ended.created_at == 3.0
            assert await one.log(status.id) == "hello\nworld\n"

    simulate(main(), seed=1)


def test_a_slow_container_is_killed_when_its_grace_period_is_over() -> None:
    async def main() -> None:
        async with node(SimBackend()) as one:
            sandbox = await one.sandbox(scripted(stop_delay="20"))
            patient, hasty = await one.start(sandbox, WEB), await one.start(sandbox, WEB)
            await one.runtime.ask(m.StopContainer(patient.id, 30))
            await one.runtime.ask(m.StopContainer(hasty.id, 5))
            assert (await one.status(patient.id)).exit_code == 0
            killed = await one.status(hasty.id)
            assert (killed.exit_code, killed.signal) == (137, 9)

    simulate(main(), seed=1)


def test_an_annotation_that_cannot_be_read_fails_the_container() -> None:
    async def main() -> None:
        async with node(SimBackend()) as one:
            with pytest.raises(m.RuntimeServiceError, match=r"annotation sim\.kubeloop\.io/run-time: invalid duration"):
                await one.start(await one.sandbox(scripted(run_time="soon")), WEB)

    simulate(main(), seed=1)


def test_a_behaviour_sees_its_container_and_answers_connections() -> None:
    def serve(context: SimContext) -> Any:
        context.log(f"{context.pod.name} on {context.node_name}, DB={context.env['DB']}")
        return lambda port, payload: f"{context.pod_ip}:{port} {payload}"

    async def main() -> None:
        async with node(SimBackend(behaviors={"web": serve})) as one:
            sandbox = await one.sandbox()
            status = await one.start(sandbox, replace(WEB, envs={"DB": "db:5432"}))
            assert await one.runtime.ask(m.Dial(sandbox.ip, 80, "hi")) == f"{sandbox.ip}:80 hi"
            assert await one.log(status.id) == "web on node-1, DB=db:5432\n"
            await one.runtime.ask(m.StopContainer(status.id, 30))
            with pytest.raises(m.RuntimeServiceError, match="connection refused"):
                await one.runtime.ask(m.Dial(sandbox.ip, 80))

    simulate(main(), seed=1)


def test_an_async_behaviour_is_the_container() -> None:
    async def work(context: SimContext) -> int:
        await context.clock.sleep(5)
        return 3

    async def forever(context: SimContext) -> None:
        await asyncio.Event().wait()

    async def broken(context: SimContext) -> None:
        raise RuntimeError("lost the plot")

    async def main() -> None:
        behaviors = {"work": work, "forever": forever, "broken": broken}
        async with node(SimBackend(behaviors=behaviors)) as one:
            sandbox = await one.sandbox()
            worked = await one.ended((await one.start(sandbox, replace(WEB, image="work:2"))).id)
            assert (worked.exit_code, worked.finished_at - worked.started_at) == (3, 5.0)
            endless = await one.start(sandbox, replace(WEB, image="forever"))
            await one.runtime.ask(m.StopContainer(endless.id, 30))
            assert (await one.status(endless.id)).state == m.CONTAINER_EXITED
            failed = await one.start(sandbox, replace(WEB, image="broken"))
            assert "RuntimeError: lost the plot" in await one.log(failed.id, follow=True)
            assert (await one.status(failed.id)).exit_code == 1

    simulate(main(), seed=1)


def test_a_crash_of_the_runtime_kills_its_containers() -> None:
    async def forever(context: SimContext) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with node(SimBackend(behaviors={"forever": forever})) as one:
            await one.start(await one.sandbox(), replace(WEB, image="forever"))
            one.system.crash("container-runtime/node-1")
            await asyncio.sleep(60)
            assert await one.runtime.ask(m.ListContainers()) == ()
            assert [type(message) for message in one.heard] == [m.RuntimeReady, m.RuntimeReady]

    simulate(main(), seed=1)


def test_probes_follow_the_script() -> None:
    async def main() -> None:
        async with node(SimBackend()) as one:
            status = await one.start(await one.sandbox(scripted(ready_after="10", unhealthy_after="60")), WEB)

            async def probe(kind: str) -> bool:
                answer: m.ProbeAnswer = await one.runtime.ask(m.RunProbe(status.id, kind))
                return answer.success

            assert (await probe("readiness"), await probe("liveness")) == (False, True)
            await asyncio.sleep(10)
            assert (await probe("readiness"), await probe("liveness")) == (True, True)
            await asyncio.sleep(50)
            assert (await probe("readiness"), await probe("liveness")) == (True, False)

    simulate(main(), seed=1)
