"""Nobody grants what they do not have: checked when roles and bindings are written.

Follows "Privilege escalation prevention and bootstrapping" of the RBAC page: who holds every right of a role, or the
verb `escalate` on it, may write it; who holds every right of the role bound, or `bind` on it, may bind it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import quoted
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.rbac.attributes import Attributes
from kubeloop.actors.apiserver.rbac.authorizer import GROUP, MASTERS, RbacAuthorizer
from kubeloop.actors.apiserver.rbac.rules import descriptions, go_list, missing


def admit_role(call: Call, role: Any, namespace: str) -> Mapping[str, Any]:
    check_role(call, role, None)
    return {}


def admit_binding(call: Call, binding: Any, namespace: str) -> Mapping[str, Any]:
    check_binding(call, binding, None)
    return {}


def check_role(call: Call, role: Any, old: Any) -> None:
    """Raises 403 for rules that the writer does not hold, and for an aggregation that could come to hold any."""
    rbac = call.server.authorizer.rbac
    if rbac is None or MASTERS in call.user.groups:
        return
    if old is not None and _only_for_collection(role, old):
        return
    resource = call.route.resource
    if _may(call, "escalate", resource.plural, role.metadata.name or "", call.namespace):
        return
    lacking = _lacking(call, rbac, role.rules)
    if lacking:
        raise errors.forbidden(resource.plural, role.metadata.name or "", lacking, GROUP)
    if (_aggregation(role) or _aggregation(old)) and _lacking(call, rbac, _everything()):
        text = "must have cluster-admin privileges to use the aggregationRule"
        raise errors.forbidden(resource.plural, role.metadata.name or "", text, GROUP)


def check_binding(call: Call, binding: Any, old: Any) -> None:
    """Raises 403 for a role with rights that the writer does not hold, 404 for a role that is not there."""
    rbac = call.server.authorizer.rbac
    if rbac is None or MASTERS in call.user.groups:
        return
    if old is not None and _only_for_collection(binding, old):
        return
    reference = binding.role_ref
    if reference is None or reference.kind not in ("Role", "ClusterRole") or not reference.name:
        return  # validation says what is wrong
    plural = f"{reference.kind.lower()}s"
    if _may(call, "bind", plural, reference.name, call.namespace):
        return
    try:
        rules = rbac.rules_of(reference, call.namespace)
    except LookupError:
        raise errors.not_found(reference.kind.lower(), reference.name, GROUP) from None
    lacking = _lacking(call, rbac, rules)
    if lacking:
        raise errors.forbidden(call.route.resource.plural, binding.metadata.name or "", lacking, GROUP)


def _only_for_collection(new: Any, old: Any) -> bool:
    """Whether nothing but what the garbage collector writes has changed: owners and finalizers."""
    same = {
        name: getattr(old.metadata, name)
        for name in ("owner_references", "finalizers", "managed_fields", "resource_version")
    }
    return bool(replace(new, metadata=replace(new.metadata, **same)) == old)


def _aggregation(role: Any) -> Sequence[Any]:
    rule = getattr(role, "aggregation_rule", None)
    return rule.cluster_role_selectors if rule is not None else ()


def _everything() -> Sequence[Any]:
    from kubeloop.actors.apiserver.rbac import defaults, policy

    return [defaults.rule_of(line) for line in policy.CLUSTER_ROLES["cluster-admin"]]


def _may(call: Call, verb: str, plural: str, name: str, namespace: str) -> bool:
    asked = Attributes(verb, GROUP, plural, "", namespace, name)
    return call.server.authorizer.decide(call.user, asked).allowed


def _lacking(call: Call, rbac: RbacAuthorizer, wanted: Sequence[Any]) -> str:
    """What the caller does not hold of the rules, in kube-apiserver's words; "" nothing."""
    user, wrong = call.user, list[str]()
    held = list(rbac.rules_of_user(user, call.namespace, wrong))
    rights = missing(held, wanted)
    if not rights:
        return ""
    lines = "\n".join(descriptions(rights))
    text = (
        f"user {quoted(user.name)} (groups={go_list(user.groups)}) is attempting to grant RBAC permissions "
        f"not currently held:\n{lines}"
    )
    return f"{text}; resolution errors: [{', '.join(wrong)}]" if wrong else text
