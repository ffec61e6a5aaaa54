"""What else decides where pods go, watched once a pod waits: owners of pods, namespaces, volumes, budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kubeloop.actors.scheduler.framework import Event

if TYPE_CHECKING:
    from kubeloop.actors.client.informer import InformerFactory
    from kubeloop.actors.scheduler.core import Core
    from kubeloop.runtime.clock import Clock

Change = Callable[[Any, Any], None]
Field = Callable[[Any], Any]
"""What of an object matters to scheduling."""


class Feeds:
    """Fills the core's cache from informers of everything but pods and nodes."""

    def __init__(self, core: Core, factory: InformerFactory, clock: Clock, kick: Callable[[], None]) -> None:
        self._core = core
        self._cluster = core.cluster
        self._factory = factory
        self._clock = clock
        self._kick = kick

    async def start(self) -> None:
        """Starts the informers and waits until they hold everything."""
        for resource, event, handler, field in self._table():
            self._factory.informer(resource).add_handler(self._watched(event, handler, field))
        budgets = self._factory.informer("poddisruptionbudgets.policy")
        self._core.budgets = lambda: _all(budgets)
        await self._factory.start()

    def _table(self) -> Iterable[tuple[str, Event, Change, Field]]:
        volumes = self._cluster.volumes
        return (
            ("services", Event.SERVICE, self._on_service, _selector),
            ("replicationcontrollers", Event.SERVICE, self._on_controller("ReplicationController"), _selector),
            ("replicasets.apps", Event.SERVICE, self._on_controller("ReplicaSet"), _selector),
            ("statefulsets.apps", Event.SERVICE, self._on_controller("StatefulSet"), _selector),
            ("namespaces", Event.NAMESPACE, self._on_namespace, lambda item: item.metadata.labels),
            ("persistentvolumeclaims", Event.VOLUME, _kept(volumes.claims), _everything),
            ("persistentvolumes", Event.VOLUME, _kept(volumes.volumes), _everything),
            ("storageclasses.storage.k8s.io", Event.VOLUME, _kept(volumes.classes), _everything),
            ("csinodes.storage.k8s.io", Event.VOLUME, _kept(volumes.csi_nodes), _everything),
        )

    def _watched(self, event: Event, handler: Change, field: Field) -> Change:
        def on_change(old: Any, new: Any) -> None:
            if old is not None and new is not None and field(old) == field(new):
                return
            handler(old, new)
            self._core.objects_changed(event, self._clock.monotonic())
            if self._core.queue.ready:
                self._kick()

        return on_change

    def _on_service(self, old: Any, new: Any) -> None:
        metadata = (new or old).metadata
        selector = new.spec.selector if new is not None and new.spec is not None else None
        self._cluster.owners.set_service(metadata.namespace, metadata.name, selector)

    def _on_controller(self, kind: str) -> Change:
        def on_change(old: Any, new: Any) -> None:
            metadata = (new or old).metadata
            selector = new.spec.selector if new is not None and new.spec is not None else None
            self._cluster.owners.set_controller(kind, metadata.namespace, metadata.name, selector)

        return on_change

    def _on_namespace(self, old: Any, new: Any) -> None:
        if new is None:
            self._cluster.namespaces.pop(old.metadata.name, None)
        else:
            self._cluster.namespaces[new.metadata.name] = new.metadata.labels


def _all(informer: Any) -> list[Any]:
    return list(informer.list())


def _key(item: Any) -> str:
    namespace = item.metadata.namespace
    return f"{namespace}/{item.metadata.name}" if namespace else str(item.metadata.name)


def _kept(table: dict[str, Any]) -> Change:
    def on_change(old: Any, new: Any) -> None:
        if new is None:
            table.pop(_key(old), None)
        else:
            table[_key(new)] = new

    return on_change


def _selector(item: Any) -> Any:
    return item.spec.selector if item.spec is not None else None


def _everything(item: Any) -> Any:
    return item
