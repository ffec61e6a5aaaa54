"""Root CA publisher: every namespace has the certificate with which pods check the API server.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.errors import StatusError, is_already_exists
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import pod_control
from kubeloop.actors.controller_manager.controller import Controller, split_key

CONFIG_MAP = "kube-root-ca.crt"
KEY = "ca.crt"


class RootCaPublisher(Controller):
    """Keeps ConfigMap kube-root-ca.crt in each namespace. Until there is a CA it does nothing and watches nothing."""

    NAME = "root-ca-certificate-publisher-controller"
    ACCOUNT = "root-ca-cert-publisher"
    RESOURCE = "namespaces"
    root_ca: str = ""  # PEM

    def set_up(self) -> None:
        if self.root_ca:
            self.config_maps = self.watch("configmaps", self._on_config_map)
            super().set_up()

    async def publish(self, root_ca: str) -> None:
        """Begins to publish a CA that was made after the start."""
        if self.root_ca:
            return
        self.root_ca = root_ca
        self.set_up()
        for name, informer in {"configmaps": self.config_maps, self.RESOURCE: self.informer}.items():
            if self.context.holds_objects(name):
                await self.context.start_informer(informer)

    def _on_config_map(self, old: Any | None, new: Any | None) -> None:
        obj = new if new is not None else old
        if meta.name(obj) == CONFIG_MAP and (new is None or old is not None):
            self.enqueue(meta.namespace(obj) or "")

    async def reconcile(self, key: str) -> Result | None:
        _, name = split_key(key)
        namespace = self.informer.get(name)
        if namespace is None or meta.deletion_timestamp(namespace) is not None:
            return None
        existing = self.config_maps.get(f"{name}/{CONFIG_MAP}")
        data = {KEY: self.root_ca}
        try:
            if existing is None:
                await self.client.create(
                    ConfigMap(metadata=ObjectMeta(name=CONFIG_MAP, namespace=name), data=data), name
                )
            elif dict(existing.data) != data:
                await self.client.update(msgspec.structs.replace(existing, data=data))
        except StatusError as error:
            if not is_already_exists(error) and not pod_control.namespace_is_terminating(error):
                raise
        return None
