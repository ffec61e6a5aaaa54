"""EndpointSlice: publishes the addresses behind every service that has a selector.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import endpoint_slices, pod_control
from kubeloop.actors.controller_manager.expectations import Expectations
from kubeloop.actors.controller_manager.service_endpoints import ServiceEndpointsController

BY_SERVICE = "service"
SLICES = "endpointslices.discovery.k8s.io"


def slices_service(each: EndpointSlice) -> Sequence[str]:
    """The key of the service that this controller keeps the slice for; slices of others have none."""
    labels = meta.labels(each)
    service = labels.get(endpoint_slices.SERVICE_NAME)
    if not service or labels.get(endpoint_slices.MANAGED_BY) != endpoint_slices.MANAGER:
        return ()
    return (f"{meta.namespace(each)}/{service}",)


class EndpointSliceController(ServiceEndpointsController):
    NAME = "endpointslice-controller"
    COMPONENT = "endpoint-slice-controller"

    def set_up(self) -> None:
        super().set_up()
        self.expectations = Expectations()
        self.slices = self.context.index(SLICES, BY_SERVICE, slices_service)
        self.nodes = self.watch("nodes", self._on_node)
        self.watch(SLICES, self._on_slice)

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """Somebody changed or deleted what is ours to keep."""
        for each in (old, new):
            for key in slices_service(each) if each is not None else ():
                uid = meta.uid(each) or ""
                self.expectations.observe_created(key, uid)
                if new is None:
                    self.expectations.observe_deleted(key, uid)
                self.enqueue(key)

    def _on_node(self, old: Any | None, new: Any | None) -> None:
        """A node's zone is repeated in the endpoints on it."""
        zone, before = (
            meta.labels(each).get(endpoint_slices.ZONE) if each is not None else None for each in (new, old)
        )
        if zone == before or not self._started:
            return
        for service in self.services.list():
            self.enqueue(meta.key(service))

    async def reconcile(self, key: str) -> Result | None:
        service = self.services.get(key)
        existing = self.slices.by_index(BY_SERVICE, key)
        if service is None or meta.deletion_timestamp(service) is not None:
            self.expectations.forget(key)
            return None  # the garbage collector takes the slices of a service that is gone
        if not endpoint_slices.wants_endpoints(service):
            return None
        if not self.expectations.satisfied(key, self.clock.now()):
            return None
        plan = endpoint_slices.plan_slices(service, self.pods_of(service), existing, self.nodes.get)
        try:
            await self._carry_out(key, service, plan)
        except StatusError as error:
            if not pod_control.namespace_is_terminating(error):
                raise
        return None

    async def _carry_out(self, key: str, service: Any, plan: endpoint_slices.SlicePlan) -> None:
        for each in plan.create:
            created = await self.client.create(each, meta.namespace(service))
            if self.slices.get(meta.key(created)) is None:
                self.expectations.expect_created(key, meta.uid(created) or "", self.clock.now())
        for each in plan.update:
            await self.client.update(each)
        for each in plan.delete:
            try:
                await self.client.delete(SLICES, meta.name(each), meta.namespace(each))
            except StatusError as error:
                if not is_not_found(error):
                    raise
