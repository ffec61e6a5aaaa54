"""The same controller, written with the PyPI package kr8s, which knows nothing of kubeloop."""

from typing import Any

from kr8s.asyncio import Api
from kr8s.asyncio.objects import ConfigMap, Namespace


async def run_team_controller(api: Api) -> None:
    """Runs until cancelled."""
    async for _event, namespace in api.watch("namespaces"):
        await reconcile(api, namespace)


async def reconcile(api: Api, namespace: Any) -> None:
    team = namespace.labels.get("team")
    if team is None or "deletionTimestamp" in namespace.metadata:
        return
    resource = {"metadata": {"name": "contact", "namespace": namespace.name}, "data": {"team": team}}
    contact = await ConfigMap(resource, api=api)
    if not await contact.exists():
        await contact.create()
    else:
        await contact.patch({"data": {"team": team}})


async def label_namespace(api: Api, name: str, team: str) -> None:
    namespace = await Namespace.get(name, api=api)
    await namespace.label({"team": team})
