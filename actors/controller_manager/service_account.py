"""ServiceAccount: every namespace has one named default.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import ServiceAccount
from kubeloop.actors.api.errors import StatusError, is_already_exists
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import pod_control
from kubeloop.actors.controller_manager.controller import Controller

DEFAULT = "default"


class ServiceAccountController(Controller):
    NAME = "serviceaccount-controller"
    ACCOUNT = "service-account-controller"
    RESOURCE = "namespaces"

    def set_up(self) -> None:
        super().set_up()
        self.accounts = self.watch("serviceaccounts", self._on_account)

    def _on_account(self, old: Any | None, new: Any | None) -> None:
        if new is None and meta.name(old) == DEFAULT:
            self.enqueue(meta.namespace(old) or "")

    async def reconcile(self, key: str) -> Result | None:
        namespace = self.informer.get(key)
        if namespace is None or meta.deletion_timestamp(namespace) is not None:
            return None
        if self.accounts.get(f"{key}/{DEFAULT}") is not None:
            return None
        try:
            await self.client.create(ServiceAccount(metadata=ObjectMeta(name=DEFAULT, namespace=key)), key)
        except StatusError as error:
            if not is_already_exists(error) and not pod_control.namespace_is_terminating(error):
                raise
        return None
