"""Makes the default policy's objects, and keeps what is stored at least as wide, as kube-apiserver does at each start.

A role or binding with the annotation autoupdate "false" is left alone; others get back what they lack.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import chain, freshness
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.apiserver.rbac import policy
from kubeloop.actors.apiserver.rbac.authorizer import GROUP, RESOURCES
from kubeloop.actors.apiserver.rbac.controller_policy import CONTROLLER_ROLES
from kubeloop.actors.apiserver.rbac.rules import missing

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
APISERVER = UserInfo("system:apiserver", ("system:masters", "system:authenticated"))

DefaultObject = tuple[str, str, Any]
"""Plural, namespace ("" for none), object."""


async def reconcile_policy(server: "ApiServer") -> None:
    """Creates what is not there and widens what is too narrow. The caches of roles and bindings are filled then."""
    for plural in RESOURCES:
        await server.resources.load(GROUP, "v1", plural)
    for plural, namespace, wanted in default_objects():
        name = wanted.metadata.name
        stored = server.lookup(f"{plural}.{GROUP}", namespace, name)
        if stored is None:
            request = Request("create", GROUP, "v1", plural, namespace, body=wanted, user=APISERVER)
        else:
            widened = reconciled(stored, wanted)
            if widened is None:
                continue
            request = Request("update", GROUP, "v1", plural, namespace, name, body=widened, user=APISERVER)
        try:
            await chain.handle(server, request)
        except StatusError as error:
            if error.code != 409:  # another API server over the same etcd was faster
                raise
    for plural in RESOURCES:
        route = await server.find_route(GROUP, "v1", plural)
        assert route.store is not None
        await freshness.refresh(route.store, "")


def reconciled(stored: Any, wanted: Any) -> Any | None:
    """What to store instead of `stored`; None when it is wide enough, or not to be updated."""
    if stored.metadata.annotations.get(AUTOUPDATE) == "false":
        return None
    changes: dict[str, Any] = {}
    metadata = stored.metadata
    labels = {**wanted.metadata.labels, **metadata.labels}
    annotations = {**wanted.metadata.annotations, **metadata.annotations}
    if labels != metadata.labels or annotations != metadata.annotations:
        changes["metadata"] = replace(metadata, labels=labels, annotations=annotations)
    if hasattr(wanted, "role_ref"):
        lacking = tuple(subject for subject in wanted.subjects if subject not in stored.subjects)
        if lacking:
            changes["subjects"] = (*stored.subjects, *lacking)
    else:
        changes.update(_widened_rules(stored, wanted))
    return replace(stored, **changes) if changes else None


def _widened_rules(stored: Any, wanted: Any) -> dict[str, Any]:
    aggregation = getattr(wanted, "aggregation_rule", None)
    if aggregation is not None:
        if stored.aggregation_rule is not None:
            return {}
        return {"aggregation_rule": aggregation}
    lacking = tuple(rule for rule in wanted.rules if missing(stored.rules, (rule,)))
    return {"rules": (*stored.rules, *lacking)} if lacking else {}


# the objects


@cache
def default_objects() -> tuple[DefaultObject, ...]:
    return (*_cluster_roles(), *_cluster_role_bindings(), *_roles(), *_role_bindings())


def _cluster_roles() -> Iterator[DefaultObject]:
    from kubeloop.actors.api.meta_v1 import LabelSelector
    from kubeloop.actors.api.rbac_v1 import AggregationRule, ClusterRole

    roles = {**policy.CLUSTER_ROLES, **{f"system:controller:{name}": it for name, it in CONTROLLER_ROLES.items()}}
    for name, lines in roles.items():
        yield "clusterroles", "", ClusterRole(metadata=_metadata(name), rules=tuple(map(rule_of, lines)))
    for name, label in policy.AGGREGATED.items():
        selector = LabelSelector(match_labels={AGGREGATE + label: "true"})
        rule = AggregationRule(cluster_role_selectors=(selector,))
        rules = tuple(map(rule_of, aggregated_lines(label)))
        yield "clusterroles", "", ClusterRole(metadata=_metadata(name), aggregation_rule=rule, rules=rules)


def aggregated_lines(label: str) -> list[str]:
    """What the aggregation of the default roles gives, so that it is there from the first moment on."""
    lines: dict[str, None] = {}
    for name, part_of in sorted(policy.PART_OF.items()):
        if part_of == label:
            found = aggregated_lines(name) if name in policy.AGGREGATED else policy.CLUSTER_ROLES[name]
            lines.update(dict.fromkeys(found))
    return list(lines)


def _cluster_role_bindings() -> Iterator[DefaultObject]:
    from kubeloop.actors.api.rbac_v1 import ClusterRoleBinding, RoleRef

    accounts = {f"system:controller:{name}": (f"ServiceAccount kube-system/{name}",) for name in CONTROLLER_ROLES}
    for name, subjects in {**policy.CLUSTER_ROLE_BINDINGS, **accounts}.items():
        reference = RoleRef(api_group=GROUP, kind="ClusterRole", name=name)
        binding = ClusterRoleBinding(metadata=_metadata(name), role_ref=reference, subjects=_subjects(subjects))
        yield "clusterrolebindings", "", binding


def _roles() -> Iterator[DefaultObject]:
    from kubeloop.actors.api.rbac_v1 import Role

    for (namespace, name), lines in policy.ROLES.items():
        yield "roles", namespace, Role(metadata=_metadata(name, namespace), rules=tuple(map(rule_of, lines)))


def _role_bindings() -> Iterator[DefaultObject]:
    from kubeloop.actors.api.rbac_v1 import RoleBinding, RoleRef

    for (namespace, name), (role, subjects) in policy.ROLE_BINDINGS.items():
        reference = RoleRef(api_group=GROUP, kind="Role", name=role)
        metadata = _metadata(name, namespace)
        binding = RoleBinding(metadata=metadata, role_ref=reference, subjects=_subjects(subjects))
        yield "rolebindings", namespace, binding


def _metadata(name: str, namespace: str = "") -> Any:
    from kubeloop.actors.api.meta_v1 import ObjectMeta

    labels = dict(BOOTSTRAPPING)
    part_of = policy.PART_OF.get(name)
    if part_of is not None and not namespace:
        labels[AGGREGATE + part_of] = "true"
    return ObjectMeta(name=name, namespace=namespace or None, labels=labels, annotations={AUTOUPDATE: "true"})


def _subjects(lines: Sequence[str]) -> tuple[Any, ...]:
    from kubeloop.actors.api.rbac_v1 import Subject

    subjects = []
    for line in lines:
        kind, _, name = line.partition(" ")
        if kind == "ServiceAccount":
            namespace, _, name = name.partition("/")
            subjects.append(Subject(kind=kind, name=name, namespace=namespace))
        else:
            subjects.append(Subject(api_group=GROUP, kind=kind, name=name))
    return tuple(subjects)


@cache
def rule_of(line: str) -> Any:
    """A line of policy.py as a PolicyRule."""
    from kubeloop.actors.api.rbac_v1 import PolicyRule

    verbs, _, rest = line.partition("  ")
    verbs_tuple = tuple(policy.VERBS.get(verbs, verbs).split())
    groups, colon, resources = rest.partition(": ")
    if not colon:
        return PolicyRule(verbs=verbs_tuple, non_resource_urls=tuple(rest.split()))
    resources, _, names = resources.partition(" # ")
    return PolicyRule(
        verbs=verbs_tuple,
        api_groups=tuple("" if group == "core" else group for group in groups.split(",")),
        resources=tuple(resources.split()),
        resource_names=tuple(names.split()),
    )
