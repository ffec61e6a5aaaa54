"""Endpoints: the older form of a service's addresses.

https://kubernetes.io/docs/concepts/services-networking/service/#endpoints
"""

from __future__ import annotations

from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import endpoint_slices, endpoint_subsets, pod_control
from kubeloop.actors.controller_manager.service_endpoints import ServiceEndpointsController


class EndpointsController(ServiceEndpointsController):
    NAME = "endpoints-controller"
    ACCOUNT = "endpoint-controller"
    COMPONENT = "endpoint-controller"

    def set_up(self) -> None:
        super().set_up()
        self.endpoints = self.watch("endpoints", self._on_endpoints)

    def _on_endpoints(self, old: Any | None, new: Any | None) -> None:
        obj = new if new is not None else old
        if meta.labels(obj).get(endpoint_subsets.MANAGED_BY) == endpoint_subsets.MANAGER or new is None:
            self.enqueue(meta.key(obj))

    async def reconcile(self, key: str) -> Result | None:
        service = self.services.get(key)
        existing = self.endpoints.get(key)
        if service is None:
            if (
                existing is not None
                and meta.labels(existing).get(endpoint_subsets.MANAGED_BY) == endpoint_subsets.MANAGER
            ):
                await self._delete(existing)
            return None
        if not endpoint_slices.wants_endpoints(service) or meta.deletion_timestamp(service) is not None:
            return None
        wanted = endpoint_subsets.plan_endpoints(service, self.pods_of(service), existing)
        if wanted is None:
            return None
        try:
            if existing is None:
                await self.client.create(wanted, meta.namespace(service))
            else:
                await self.client.update(wanted)
        except StatusError as error:
            if is_already_exists(error) or pod_control.namespace_is_terminating(error):
                return None
            raise
        return None

    async def _delete(self, existing: Any) -> None:
        try:
            await self.client.delete("endpoints", meta.name(existing), meta.namespace(existing))
        except StatusError as error:
            if not is_not_found(error):
                raise
