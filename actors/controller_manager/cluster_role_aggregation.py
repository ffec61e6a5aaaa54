"""ClusterRole aggregation: a role with an aggregationRule has the rules of the roles that it selects.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import meta
from kubeloop.actors.api.rbac_v1 import ClusterRole, PolicyRule
from kubeloop.actors.api.selectors import from_label_selector
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager.controller import Controller


class ClusterRoleAggregationController(Controller):
    NAME = "clusterrole-aggregation-controller"
    RESOURCE = "clusterroles"

    def set_up(self) -> None:
        super().set_up()
        self._aggregated: dict[str, None] = {}

    def on_own(self, old: Any | None, new: Any | None) -> None:
        """Any role may be a part of any aggregated one."""
        name = meta.name(new if new is not None else old)
        if new is not None and new.aggregation_rule is not None:
            self._aggregated[name] = None
        else:
            self._aggregated.pop(name, None)
        for each in self._aggregated:
            self.enqueue(each)

    async def reconcile(self, key: str) -> Result | None:
        role = self.informer.get(key)
        if role is None or role.aggregation_rule is None:
            return None
        rules = aggregated_rules(role, self.informer.list())
        if rules != tuple(role.rules):
            await self.client.update(replace(role, rules=rules))
        return None


def aggregated_rules(role: ClusterRole, roles: list[ClusterRole]) -> tuple[PolicyRule, ...]:
    """The rules of the roles that `role` selects: selector by selector, by name, each rule once."""
    assert role.aggregation_rule is not None
    found: list[PolicyRule] = []
    ordered = sorted(roles, key=meta.name)
    for given in role.aggregation_rule.cluster_role_selectors:
        selector = from_label_selector(given)
        for each in ordered:
            if meta.name(each) != meta.name(role) and selector.matches(each.metadata.labels):
                found.extend(rule for rule in each.rules if rule not in found)
    return tuple(found)
