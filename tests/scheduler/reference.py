"""A slow, obvious scheduler: one node at a time, plain loops over plain dicts. The columnar one agrees with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

Object = dict[str, Any]
SUFFIXES = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
}
DEFAULTS = {"cpu": "100m", "memory": "200Mi"}
HOSTNAME = "kubernetes.io/hostname"


def amount(resource: str, text: str) -> int:
    number = text.rstrip("mKiG M")
    value = Fraction(number) * SUFFIXES[text[len(number) :]]
    return math.ceil(value * 1000 if resource == "cpu" else value)


def requests(pod: Object, *, assumed: bool = False) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        declared = dict(container.get("resources", {}).get("requests", {}))
        if assumed:
            declared = {**DEFAULTS, **declared}
        for name, text in declared.items():
            total[name] = total.get(name, 0) + amount(name, text)
    return total


def labels(item: Object) -> dict[str, str]:
    found: dict[str, str] = item["metadata"].get("labels", {})
    return found


def used(node: Object, pods: Iterable[Object], resource: str, *, assumed: bool = False) -> int:
    here = [pod for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    return sum(requests(pod, assumed=assumed).get(resource, 0) for pod in here)


def allocatable(node: Object, resource: str) -> int:
    text = node["status"]["allocatable"].get(resource)
    return amount(resource, text) if text is not None else 0


def expression_holds(expression: Object, values: dict[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    wanted = expression.get("values", [])
    if operator == "In":
        return key in values and values[key] in wanted
    if operator == "NotIn":
        return key not in values or values[key] not in wanted
    if operator == "Exists":
        return key in values
    if operator == "DoesNotExist":
        return key not in values
    try:
        left, right = int(values[key]), int(wanted[0])
    except (KeyError, ValueError):
        return False
    return left > right if operator == "Gt" else left < right


def selector_matches(selector: Object, values: dict[str, str]) -> bool:
    if any(values.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(expression_holds(expression, values) for expression in selector.get("matchExpressions", []))


def tolerated(taint: Object, pod: Object) -> bool:
    for toleration in pod["spec"].get("tolerations", []):
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        if toleration.get("operator") == "Exists":
            return True
        if toleration.get("key") and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def node_affinity_holds(node: Object, pod: Object) -> bool:
    values = labels(node)
    if any(values.get(key) != value for key, value in pod["spec"].get("nodeSelector", {}).items()):
        return False
    required = (
        pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    )
    if required is None:
        return True
    return any(
        term.get("matchExpressions") and all(expression_holds(e, values) for e in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
    )


def untolerated(node: Object, pod: Object) -> bool:
    return any(
        taint["effect"] != "PreferNoSchedule" and not tolerated(taint, pod) for taint in node["spec"].get("taints", [])
    )


def host_ports(pod: Object) -> list[tuple[str, str, int]]:
    return [
        (port.get("hostIP", "0.0.0.0"), port.get("protocol", "TCP"), port["hostPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("hostPort")
    ]


def port_clash(node: Object, pod: Object, pods: Iterable[Object]) -> bool:
    for other in pods:
        if other["spec"].get("nodeName") != node["metadata"]["name"]:
            continue
        for address, protocol, port in host_ports(pod):
            for taken_address, taken_protocol, taken_port in host_ports(other):
                same = address == taken_address or "0.0.0.0" in (address, taken_address)
                if (protocol, port) == (taken_protocol, taken_port) and same:
                    return True
    return False


def lacks_room(node: Object, pod: Object, pods: Sequence[Object]) -> bool:
    here = [other for other in pods if other["spec"].get("nodeName") == node["metadata"]["name"]]
    if len(here) + 1 > allocatable(node, "pods"):
        return True
    return any(
        value and value > allocatable(node, name) - used(node, pods, name) for name, value in requests(pod).items()
    )


def node_of(pod: Object, nodes: Iterable[Object]) -> Object | None:
    return next((node for node in nodes if node["metadata"]["name"] == pod["spec"].get("nodeName")), None)


def counted(constraint: Object, pod: Object, other: Object) -> bool:
    if other["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    return selector_matches(constraint["labelSelector"], labels(other))


def spread_broken(node: Object, pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> bool:
    constraints = [
        constraint
        for constraint in pod["spec"].get("topologySpreadConstraints", [])
        if constraint["whenUnsatisfiable"] == "DoNotSchedule"
    ]
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in labels(node):
            return True
        domains: dict[str, int] = {}
        for candidate in nodes:
            if not all(other["topologyKey"] in labels(candidate) for other in constraints):
                continue
            if constraint.get("nodeAffinityPolicy") != "Ignore" and not node_affinity_holds(candidate, pod):
                continue
            if constraint.get("nodeTaintsPolicy") == "Honor" and untolerated(candidate, pod):
                continue
            domain = labels(candidate)[key]
            here = [other for other in pods if other["spec"].get("nodeName") == candidate["metadata"]["name"]]
            domains[domain] = domains.get(domain, 0) + sum(counted(constraint, pod, other) for other in here)
        least = min(domains.values(), default=2**31)
        if len(domains) < constraint.get("minDomains", 1):
            least = 0
        own = 1 if counted(constraint, pod, pod) else 0
        if domains.get(labels(node)[key], 0) + own - least > constraint["maxSkew"]:
            return True
    return False


def terms(pod: Object, kind: str) -> list[Object]:
    found: list[Object] = (
        pod["spec"].get("affinity", {}).get(kind, {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
    )
    return found


def weighted_terms(pod: Object, kind: str) -> list[Object]:
    found: list[Object] = (
        pod["spec"].get("affinity", {}).get(kind, {}).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    )
    return found


def term_means(term: Object, owner: Object, other: Object) -> bool:
    if term.get("namespaceSelector") == {}:
        inside = True
    else:
        inside = other["metadata"]["namespace"] in (term.get("namespaces") or [owner["metadata"]["namespace"]])
    return inside and selector_matches(term["labelSelector"], labels(other))


def same_domain(key: str, one: Object, other: Object) -> bool:
    return key in labels(one) and labels(one).get(key) == labels(other).get(key)


def affinity_broken(node: Object, pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> bool:
    required = terms(pod, "podAffinity")
    if required:
        meant = [other for other in pods if all(term_means(term, pod, other) for term in required)]
        places = [place for other in meant if (place := node_of(other, nodes)) is not None]
        anywhere = any(term["topologyKey"] in labels(place) for term in required for place in places)
        itself = all(term_means(term, pod, pod) for term in required)
        if not anywhere and itself:
            if any(term["topologyKey"] not in labels(node) for term in required):
                return True
        elif not all(any(same_domain(term["topologyKey"], node, place) for place in places) for term in required):
            return True
    for other in pods:
        place = node_of(other, nodes)
        if place is None:
            continue
        if any(
            term_means(term, pod, other) and same_domain(term["topologyKey"], node, place)
            for term in terms(pod, "podAntiAffinity")
        ):
            return True
        if any(
            term_means(term, other, pod) and same_domain(term["topologyKey"], node, place)
            for term in terms(other, "podAntiAffinity")
        ):
            return True
    return False


def feasible(pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> list[str]:
    """Names of the nodes that the pod can go to."""
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    return [
        node["metadata"]["name"]
        for node in nodes
        if not (node["spec"].get("unschedulable") and not tolerated(cordon, pod))
        and not untolerated(node, pod)
        and node_affinity_holds(node, pod)
        and not port_clash(node, pod, pods)
        and not lacks_room(node, pod, pods)
        and not spread_broken(node, pod, nodes, pods)
        and not affinity_broken(node, pod, nodes, pods)
    ]


# Scores


def least_allocated(node: Object, pod: Object, pods: Sequence[Object]) -> int:
    scores = []
    for resource in ("cpu", "memory"):
        there = allocatable(node, resource)
        free = there - used(node, pods, resource, assumed=True) - requests(pod, assumed=True)[resource]
        scores.append(max(free, 0) * 100 // there)
    return sum(scores) // 2


def balanced(node: Object, pod: Object, pods: Sequence[Object]) -> int:
    asked = requests(pod)
    if not asked.get("cpu") and not asked.get("memory"):
        return 0

    def balance(with_pod: bool) -> int:
        shares = []
        for resource in ("cpu", "memory"):
            total = used(node, pods, resource) + (asked.get(resource, 0) if with_pod else 0)
            shares.append(min(total / allocatable(node, resource), 1.0))
        return int((1 - abs(shares[0] - shares[1]) / 2) * 100)

    return (150 + balance(True) - balance(False)) // 2


def taint_count(node: Object, pod: Object) -> int:
    return sum(
        taint["effect"] == "PreferNoSchedule" and not tolerated(taint, pod) for taint in node["spec"].get("taints", [])
    )


def preferred_weight(node: Object, pod: Object) -> int:
    return sum(
        item["weight"]
        for item in weighted_terms(pod, "nodeAffinity")
        if all(expression_holds(e, labels(node)) for e in item["preference"]["matchExpressions"])
    )


def pod_affinity_weight(node: Object, pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> int:
    total = 0
    for other in pods:
        place = node_of(other, nodes)
        if place is None:
            continue

        def near(term: Object, place: Object = place) -> bool:
            return same_domain(term["topologyKey"], node, place)

        for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for item in weighted_terms(pod, kind):
                term = item["podAffinityTerm"]
                total += sign * item["weight"] * (term_means(term, pod, other) and near(term))
            for item in weighted_terms(other, kind):
                term = item["podAffinityTerm"]
                total += sign * item["weight"] * (term_means(term, other, pod) and near(term))
        total += sum(term_means(term, other, pod) and near(term) for term in terms(other, "podAffinity"))
    return total


def spread_raw(
    node: Object, pod: Object, nodes: Sequence[Object], fitting: Sequence[Object], pods: Sequence[Object]
) -> int | None:
    """None: the node lacks a topology key."""
    constraints = [
        constraint
        for constraint in pod["spec"].get("topologySpreadConstraints", [])
        if constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    ]

    def keyed(candidate: Object) -> bool:
        return all(constraint["topologyKey"] in labels(candidate) for constraint in constraints)

    if not keyed(node):
        return None
    total = 0.0
    for constraint in constraints:
        key = constraint["topologyKey"]
        domains = {labels(candidate)[key] for candidate in fitting if keyed(candidate)}
        if key == HOSTNAME:
            size = sum(keyed(candidate) for candidate in fitting)
            places = [node]
        else:
            size = len(domains)
            places = [
                candidate
                for candidate in nodes
                if keyed(candidate)
                and same_domain(key, candidate, node)
                and (constraint.get("nodeAffinityPolicy") == "Ignore" or node_affinity_holds(candidate, pod))
                and not (constraint.get("nodeTaintsPolicy") == "Honor" and untolerated(candidate, pod))
            ]
        names = [place["metadata"]["name"] for place in places]
        count = sum(counted(constraint, pod, other) for other in pods if other["spec"].get("nodeName") in names)
        total += count * math.log(size + 2) + (constraint["maxSkew"] - 1)
    return math.floor(total + 0.5)


def by_maximum(raw: dict[str, int], *, reverse: bool) -> dict[str, int]:
    highest = max(raw.values())
    if highest == 0:
        return dict.fromkeys(raw, 100 if reverse else 0)
    scaled = {name: value * 100 // highest for name, value in raw.items()}
    return {name: 100 - value if reverse else value for name, value in scaled.items()}


def by_range(raw: dict[str, int]) -> dict[str, int]:
    lowest, highest = min(raw.values()), max(raw.values())
    if lowest == highest:
        return dict.fromkeys(raw, 0)
    return {name: int(100 * ((value - lowest) / (highest - lowest))) for name, value in raw.items()}


def by_spread(raw: dict[str, int | None]) -> dict[str, int]:
    counted_values = [value for value in raw.values() if value is not None]
    if not counted_values:
        return dict.fromkeys(raw, 0)
    lowest, highest = min(counted_values), max(counted_values)
    result = {}
    for name, value in raw.items():
        if value is None:
            result[name] = 0
        else:
            result[name] = 100 if highest == 0 else 100 * (highest + lowest - value) // highest
    return result


def totals(pod: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> dict[str, int]:
    """The weighted score of each node that the pod can go to."""
    names = feasible(pod, nodes, pods)
    fitting = [node for node in nodes if node["metadata"]["name"] in names]
    if not fitting:
        return {}

    def each(score: Callable[[Object], Any]) -> dict[str, Any]:
        return {node["metadata"]["name"]: score(node) for node in fitting}

    parts = [
        (1, each(lambda node: least_allocated(node, pod, pods))),
        (1, each(lambda node: balanced(node, pod, pods))),
        (3, by_maximum(each(lambda node: taint_count(node, pod)), reverse=True)),
        (2, by_maximum(each(lambda node: preferred_weight(node, pod)), reverse=False)),
        (2, by_range(each(lambda node: pod_affinity_weight(node, pod, nodes, pods)))),
    ]
    if any(c["whenUnsatisfiable"] == "ScheduleAnyway" for c in pod["spec"].get("topologySpreadConstraints", [])):
        parts.append((2, by_spread(each(lambda node: spread_raw(node, pod, nodes, fitting, pods)))))
    return {name: sum(weight * scores[name] for weight, scores in parts) for name in names}
