"""A small controller, written with kubeloop's Client: a namespace with a label `team` gets a ConfigMap `contact`.

It works on any cluster: give it a Client from a kubeconfig.
"""

from kubeloop import Client, InformerFactory, ReconcileLoop, Result
from kubeloop.actors.api.core_v1 import ConfigMap, Namespace
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.tasks import Spawner
from kubeloop.runtime.workqueue import WorkQueue


class TeamController:
    """Watches namespaces and the ConfigMaps that it made; whichever changes, the namespace is looked at again."""

    def __init__(self, client: Client, spawner: Spawner, clock: Clock) -> None:
        self.client = client
        self.informers = InformerFactory(client, spawner, clock)
        self.namespaces = self.informers.informer(Namespace)
        self.contacts = self.informers.informer(ConfigMap, field_selector="metadata.name=contact")
        self.queue: WorkQueue[str] = WorkQueue(clock, name="team")
        self.loop = ReconcileLoop("team", self.reconcile, queue=self.queue, spawner=spawner)

    async def start(self) -> None:
        self.namespaces.add_handler(lambda old, new: self.queue.add((new or old).metadata.name))
        self.contacts.add_handler(lambda old, new: self.queue.add((new or old).metadata.namespace))
        await self.informers.start()

    def stop(self) -> None:
        self.queue.shut_down()
        self.informers.stop()

    async def reconcile(self, key: str) -> Result | None:
        namespace = self.namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return None
        team = namespace.metadata.labels.get("team")
        contact = self.contacts.get(f"{key}/contact")
        if team is None:
            if contact is not None:
                await self.client.delete(contact)
        elif contact is None or contact.data.get("team") != team:
            wanted = ConfigMap(metadata=ObjectMeta(name="contact", namespace=key), data={"team": team})
            await self.client.apply(wanted, field_manager="team-controller", force=True)
        return None
