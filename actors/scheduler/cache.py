"""The cluster as columns: what the scheduler knows of nodes and of the pods on them.

A node is a row. What plugins read of it for all nodes at once is a numpy column: amounts of resources, whether it can
be scheduled, the number of its set of taints, the number of its value of a label. The amounts in use change with
each pod; they are kept as Python integers in the row (``NodeRow``) and copied to the columns, for the rows that
changed, when somebody asks for a column.

Two logs tell evaluations which rows to look at again: ``usage_log`` for pods coming and going, ``node_log`` for
changes of the node objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kubeloop.actors.scheduler import requests
from kubeloop.actors.scheduler.needs import HostPort, NeedsTable, PodInfo
from kubeloop.actors.scheduler.objects import Owners, Volumes
from kubeloop.actors.scheduler.terms import BoundTerm, NamespaceLabels, Term

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Node, Taint
    from kubeloop.actors.scheduler.framework import Mask, Vector

CPU, MEMORY, STORAGE, PODS = range(4)
"""Columns of the resources that every node has; extended resources follow."""
BASE_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
ROWS_MIN = 64


class NodeRow:
    """One node: its object, its amounts, its pods. Lists are indexed as ``ClusterCache.resources``."""

    __slots__ = (
        "allocatable",
        "images",
        "name",
        "node",
        "pods",
        "ports",
        "row",
        "scoring_cpu",
        "scoring_memory",
        "taints",
        "used",
    )

    def __init__(self, name: str, row: int, resources: int) -> None:
        self.name = name
        self.row = row
        self.node: Node | None = None
        self.allocatable = [0] * resources
        self.used = [0] * resources
        self.scoring_cpu = 0
        self.scoring_memory = 0
        self.pods: dict[str, PodInfo] = {}
        self.ports: dict[HostPort, int] = {}
        self.taints: tuple[Taint, ...] = ()
        self.images: dict[str, int] = {}

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the node object."""
        if self.node is None or self.node.metadata is None:
            return {}
        return self.node.metadata.labels


class LabelColumn:
    """The values of one label, as small integers: ``ids[row]`` is -1 where the node lacks it."""

    __slots__ = ("ids", "values")

    def __init__(self, capacity: int) -> None:
        self.values: dict[str, int] = {}
        self.ids: NDArray[np.int64] = np.full(capacity, -1, dtype=np.int64)

    def set(self, row: int, value: str | None) -> None:
        """Writes the value of one node."""
        self.ids[row] = -1 if value is None else self.values.setdefault(value, len(self.values))

    def where(self, test: Callable[[str], bool]) -> Mask:
        """Rows whose value passes ``test``; those without the label don't."""
        table = np.zeros(len(self.values) + 1, dtype=np.bool_)
        for value, number in self.values.items():
            table[number] = test(value)
        return table[self.ids]

    def among(self, values: Iterable[str]) -> Mask:
        """Rows whose value is one of ``values``."""
        table = np.zeros(len(self.values) + 1, dtype=np.bool_)
        for value in values:
            number = self.values.get(value)
            if number is not None:
                table[number] = True
        return table[self.ids]


class Counter:
    """Counts, for each node, the pods that a predicate is true of; kept up to date as pods come and go.

    The predicate is asked once for each group of equal pods and returns how often such a pod counts.
    """

    __slots__ = ("column", "live", "predicate")

    def __init__(self, predicate: Callable[[PodGroup], int], capacity: int) -> None:
        self.predicate = predicate
        self.column: Vector = np.zeros(capacity, dtype=np.int64)
        self.live = True


class PodGroup:
    """Bound pods with equal namespace, labels and affinity terms: all that matters to other pods."""

    __slots__ = ("anti_required", "counters", "info", "rows", "weighted")

    def __init__(self, info: PodInfo, namespaces: NamespaceLabels) -> None:
        self.info = info
        """Any one of them."""
        self.rows: dict[int, int] = {}
        self.counters: list[tuple[Counter, int]] = []
        terms = info.needs.affinity

        def bound(some: Iterable[Term]) -> tuple[BoundTerm, ...]:
            return tuple(term.bound(info.namespace, info.labels, namespaces) for term in some)

        self.anti_required = bound(terms.anti_required) if terms is not None else ()
        """Terms that keep other pods away."""
        self.weighted: tuple[tuple[BoundTerm, int], ...] = ()
        """Terms that draw other pods near, or push them away when negative; a required one draws with 1."""
        if terms is not None:
            self.weighted = (
                *((term, 1) for term in bound(terms.required)),
                *((term, term.term.weight) for term in bound(terms.preferred)),
                *((term, -term.term.weight) for term in bound(terms.anti_preferred)),
            )


class ClusterCache:
    """Nodes, bound and assumed pods, and what else plugins look at. Synchronous, no input or output."""

    def __init__(self) -> None:
        self.needs = NeedsTable()
        self.rows: dict[str, int] = {}
        self.nodes: list[NodeRow] = []
        self._free: list[int] = []
        self.count = 0
        """Nodes that exist (a row may also stand for a node that pods name and nobody has created yet)."""
        self.resources: dict[str, int] = {name: index for index, name in enumerate(BASE_RESOURCES)}
        self.capacity = ROWS_MIN
        self.valid: Mask = np.zeros(ROWS_MIN, dtype=np.bool_)
        self.unschedulable: Mask = np.zeros(ROWS_MIN, dtype=np.bool_)
        self.taint_set: NDArray[np.int64] = np.zeros(ROWS_MIN, dtype=np.int64)
        self.taint_sets: dict[tuple[tuple[str, str, str], ...], int] = {(): 0}
        self._allocatable: list[Vector] = [np.zeros(ROWS_MIN, dtype=np.int64) for _ in BASE_RESOURCES]
        self._used: list[Vector] = [np.zeros(ROWS_MIN, dtype=np.int64) for _ in BASE_RESOURCES]
        self._scoring: list[Vector] = [np.zeros(ROWS_MIN, dtype=np.int64) for _ in range(2)]
        self._stale: dict[int, None] = {}
        self._labels: dict[str, LabelColumn] = {}
        self.usage_log = Log()
        self.node_log = Log()
        self.groups: dict[tuple[str, bytes, bool, bytes], PodGroup] = {}
        self.groups_with_terms: dict[tuple[str, bytes, bool, bytes], PodGroup] = {}
        self.anti_keys: dict[str, None] = {}
        """Topology keys of the required anti-affinity terms of any pod so far."""
        self.weighted_keys: dict[str, None] = {}
        """Topology keys of all other affinity terms of any pod so far."""
        self._counters: list[Counter] = []
        self.port_users: dict[tuple[str, int], dict[int, dict[str, int]]] = {}
        """Protocol and port -> row -> host IP -> pods."""
        self.claim_users: dict[str, int] = {}
        """Claim -> bound pods that use it."""
        self.image_rows: dict[str, dict[int, int]] = {}
        """Image name -> row -> size in bytes."""
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.objects_version = 0
        """Rises with every change of an object that is neither node nor pod."""
        self.owners = Owners()
        self.volumes = Volumes()

    # Rows

    def row_of(self, name: str) -> NodeRow:
        """The row of a node; makes one for a node that is not known yet."""
        index = self.rows.get(name)
        if index is not None:
            return self.nodes[index]
        if self._free:
            index = self._free.pop()
        else:
            index = len(self.nodes)
            self.nodes.append(NodeRow(name, index, len(self.resources)))
            if index >= self.capacity:
                self._grow(2 * self.capacity)
        row = self.nodes[index] = NodeRow(name, index, len(self.resources))
        self.rows[name] = index
        self._stale[index] = None
        return row

    def _grow(self, capacity: int) -> None:
        def grown(column: NDArray[np.int64], fill: int = 0) -> NDArray[np.int64]:
            more = np.full(capacity, fill, dtype=column.dtype)
            more[: len(column)] = column
            return more

        old, self.capacity = self.capacity, capacity
        self.valid = np.concatenate([self.valid, np.zeros(capacity - old, dtype=np.bool_)])
        self.unschedulable = np.concatenate([self.unschedulable, np.zeros(capacity - old, dtype=np.bool_)])
        self.taint_set = grown(self.taint_set)
        self._allocatable = [grown(column) for column in self._allocatable]
        self._used = [grown(column) for column in self._used]
        self._scoring = [grown(column) for column in self._scoring]
        for label in self._labels.values():
            label.ids = grown(label.ids, -1)
        for counter in self._counters:
            counter.column = grown(counter.column)

    def _resource(self, name: str) -> int:
        index = self.resources.get(name)
        if index is None:
            index = self.resources[name] = len(self.resources)
            self._allocatable.append(np.zeros(self.capacity, dtype=np.int64))
            self._used.append(np.zeros(self.capacity, dtype=np.int64))
            for row in self.nodes:
                row.allocatable.append(0)
                row.used.append(0)
        return index

    def request_columns(self, amounts: Mapping[str, int]) -> list[tuple[int, int]]:
        """Resource column and amount of each request that is not zero."""
        return [(self._resource(name), value) for name, value in amounts.items() if value]

    # Columns

    def _flush(self) -> None:
        for index in self._stale:
            row = self.nodes[index]
            for k, value in enumerate(row.allocatable):
                self._allocatable[k][index] = value
            for k, value in enumerate(row.used):
                self._used[k][index] = value
            self._scoring[0][index] = row.scoring_cpu
            self._scoring[1][index] = row.scoring_memory
        self._stale.clear()

    def allocatable(self, resource: int) -> Vector:
        """Allocatable amount by row."""
        if self._stale:
            self._flush()
        return self._allocatable[resource]

    def used(self, resource: int) -> Vector:
        """Requested amount of the pods on each row."""
        if self._stale:
            self._flush()
        return self._used[resource]

    def scoring_used(self, resource: int) -> Vector:
        """Like ``used`` for CPU and MEMORY, with the amounts that scoring assumes where a container names none."""
        if self._stale:
            self._flush()
        return self._scoring[resource]

    def label(self, key: str) -> LabelColumn:
        """The column of a label; made when first asked for."""
        column = self._labels.get(key)
        if column is None:
            column = self._labels[key] = LabelColumn(self.capacity)
            for row in self.nodes:
                if row.node is not None:
                    column.set(row.row, row.labels.get(key))
        return column

    # Nodes

    def set_node(self, node: Node) -> NodeRow:
        """Adds or updates a node."""
        metadata, spec, status = node.metadata, node.spec, node.status
        name = metadata.name if metadata is not None else None
        if name is None:
            raise ValueError("a node has a name")
        row = self.row_of(name)
        if row.node is None:
            self.count += 1
        row.node = node
        declared = status.allocatable if status is not None else {}
        columns = [(self._resource(key), requests.amount(key, text)) for key, text in declared.items()]
        row.allocatable = [0] * len(self.resources)
        for column, value in columns:
            row.allocatable[column] = value
        self._stale[row.row] = None
        self.valid[row.row] = True
        self.unschedulable[row.row] = bool(spec is not None and spec.unschedulable)
        row.taints = tuple(spec.taints) if spec is not None else ()
        key = tuple((t.key or "", t.value or "", t.effect or "") for t in row.taints)
        self.taint_set[row.row] = self.taint_sets.setdefault(key, len(self.taint_sets))
        for label, values in self._labels.items():
            values.set(row.row, row.labels.get(label))
        self._set_images(row, node)
        self.node_log.append(row.row)
        return row

    def _set_images(self, row: NodeRow, node: Node) -> None:
        images: dict[str, int] = {}
        for image in node.status.images if node.status is not None else ():
            for name in image.names:
                images[name] = image.size_bytes or 0
        if images == row.images:
            return
        for name in row.images:
            self.image_rows[name].pop(row.row, None)
        for name, size in images.items():
            self.image_rows.setdefault(name, {})[row.row] = size
        row.images = images

    def remove_node(self, name: str) -> None:
        """Forgets a node; the pods that still name it keep their row until they go."""
        index = self.rows.get(name)
        if index is None or self.nodes[index].node is None:
            return
        row = self.nodes[index]
        self.count -= 1
        row.node = None
        row.allocatable = [0] * len(self.resources)
        row.taints = ()
        for image in row.images:
            self.image_rows[image].pop(index, None)
        row.images = {}
        self.valid[index] = self.unschedulable[index] = False
        self.taint_set[index] = 0
        for column in self._labels.values():
            column.ids[index] = -1
        self._stale[index] = None
        self.node_log.append(index)
        self._drop_if_empty(row)

    def _drop_if_empty(self, row: NodeRow) -> None:
        if row.node is None and not row.pods:
            self.rows.pop(row.name, None)
            self._free.append(row.row)

    # Pods

    def add_pod(self, info: PodInfo, node_name: str) -> NodeRow:
        """Counts a bound or assumed pod on its node."""
        row = self.row_of(node_name)
        row.pods[info.uid] = info
        self._count(row, info, 1)
        return row

    def remove_pod(self, info: PodInfo, node_name: str) -> NodeRow | None:
        """Takes a pod away; None when it was not there."""
        index = self.rows.get(node_name)
        row = self.nodes[index] if index is not None else None
        counted = row.pods.pop(info.uid, None) if row is not None else None
        if row is None or counted is None:
            return None
        self._count(row, counted, -1)
        self._drop_if_empty(row)
        return row

    def _count(self, row: NodeRow, info: PodInfo, sign: int) -> None:
        needs, index, used = info.needs, row.row, row.used
        if needs.columns is None:
            needs.columns = self.request_columns(needs.requests)
        for column, value in needs.columns:
            used[column] += sign * value
        used[PODS] += sign
        row.scoring_cpu += sign * needs.scoring_cpu
        row.scoring_memory += sign * needs.scoring_memory
        self._stale[index] = None
        self.usage_log.append(index)
        if needs.host_ports:
            self._count_ports(row, needs.host_ports, sign)
        if needs.volumes:
            for claim in info.claims:
                left = self.claim_users.get(claim, 0) + sign
                self.claim_users[claim] = left
                if not left:
                    del self.claim_users[claim]
        group = self.groups.get(info.group_key)
        if group is None:
            group = self._new_group(info)
        count = group.rows.get(index, 0) + sign
        if count:
            group.rows[index] = count
        else:
            group.rows.pop(index, None)
            if not group.rows:
                self.groups.pop(info.group_key, None)
                self.groups_with_terms.pop(info.group_key, None)
        for counter, times in group.counters:
            counter.column[index] += sign * times

    def _count_ports(self, row: NodeRow, ports: Iterable[HostPort], sign: int) -> None:
        for address, protocol, port in ports:
            users = self.port_users.setdefault((protocol, port), {})
            addresses = users.setdefault(row.row, {})
            addresses[address] = addresses.get(address, 0) + sign
            if not addresses[address]:
                del addresses[address]
            if not addresses:
                del users[row.row]
            if not users:
                del self.port_users[(protocol, port)]

    def _new_group(self, info: PodInfo) -> PodGroup:
        group = self.groups[info.group_key] = PodGroup(info, self.namespaces)
        if info.needs.affinity is not None:
            self.groups_with_terms[info.group_key] = group
            self.anti_keys.update((term.term.topology_key, None) for term in group.anti_required)
            self.weighted_keys.update((term.term.topology_key, None) for term, _ in group.weighted)
        for counter in self._counters:
            times = counter.predicate(group)
            if times:
                group.counters.append((counter, times))
        return group

    # Counters

    def counter(self, predicate: Callable[[PodGroup], int], *, with_terms: bool = False) -> Counter:
        """A counter of pods by node; ``with_terms``: the predicate is true only of pods with affinity terms."""
        counter = Counter(predicate, self.capacity)
        self._counters.append(counter)
        for group in (self.groups_with_terms if with_terms else self.groups).values():
            times = predicate(group)
            if times:
                group.counters.append((counter, times))
                for index, count in group.rows.items():
                    counter.column[index] += count * times
        return counter

    def close_counters(self, counters: Iterable[Counter]) -> None:
        """Stops counting."""
        for counter in counters:
            counter.live = False
        self._counters = [counter for counter in self._counters if counter.live]
        for group in self.groups.values():
            if any(not counter.live for counter, _ in group.counters):
                group.counters = [(counter, times) for counter, times in group.counters if counter.live]

    def existing(self) -> Iterator[NodeRow]:
        """The rows of nodes that exist."""
        return (row for row in self.nodes if row.node is not None)


class Log:
    """Row numbers in the order of their changes; readers remember a position and catch up."""

    __slots__ = ("_base", "_rows")

    ENTRIES_MAX = 200_000

    def __init__(self) -> None:
        self._base = 0
        self._rows: list[int] = []

    @property
    def head(self) -> int:
        """The position after the last entry."""
        return self._base + len(self._rows)

    def append(self, row: int) -> None:
        """Notes a change of ``row``."""
        rows = self._rows
        rows.append(row)
        if len(rows) > self.ENTRIES_MAX:
            half = len(rows) // 2
            self._base += half
            del rows[:half]

    def rewind(self, position: int) -> None:
        """Forgets what came after ``position``: the changes undid each other and nobody has read them."""
        del self._rows[position - self._base :]

    def since(self, position: int) -> list[int] | None:
        """Rows changed since ``position``, possibly repeated; None when that is too long ago."""
        start = position - self._base
        return self._rows[start:] if start >= 0 else None
