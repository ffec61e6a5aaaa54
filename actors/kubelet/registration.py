"""Keeps the node known: registers it, renews its Lease every quarter of its duration, reports its status every 5 min.

"Nodes: heartbeats" of the Kubernetes documentation. Timers only; the first renewal falls on a random point of the
interval, so that many kubelets do not renew at once.
"""

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kubeloop.actors.api.coordination_v1 import Lease
from kubeloop.actors.api.core_v1 import Node
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_not_found
from kubeloop.actors.kubelet.node import LEASE_NAMESPACE, build_lease, build_node, conditions, reconciled

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.actor import Kubelet

STATUS_SECONDS = 300.0
RENEWALS_PER_DURATION = 4
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.2, 7.0


class Registration:
    """The Node and Lease objects of one kubelet."""

    __slots__ = ("_failures", "_kubelet", "_lease", "_not_ready", "_timers", "_uid", "lease_duration_seconds")

    def __init__(self, kubelet: "Kubelet", lease_duration_seconds: float) -> None:
        self._kubelet = kubelet
        self.lease_duration_seconds = lease_duration_seconds
        self._lease: Lease | None = None
        self._uid = ""
        self._not_ready = ""
        self._failures = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def register(self, not_ready: str = "") -> None:
        """Create the Node, or take an existing one over; then the Lease; then begin the heartbeats."""
        kubelet, clock = self._kubelet, self._kubelet.clock
        self._not_ready = not_ready
        machine_id = f"{clock.random.getrandbits(128):032x}"
        wanted = build_node(kubelet.identity, machine_id=machine_id, now=clock.now_rfc3339(), not_ready=not_ready)
        try:
            node: Node = await kubelet.client.create(wanted)
            if node.status is None or not node.status.conditions:
                node = await kubelet.client.update_status(replace(node, status=wanted.status))
        except StatusError as error:
            if not is_already_exists(error):
                raise
            existing: Node = await kubelet.client.get("nodes", kubelet.identity.name)
            node = reconciled(existing, wanted, clock.now_rfc3339(), not_ready)
            if node.metadata != existing.metadata:
                stored: Node = await kubelet.client.update(node)
                node = replace(stored, status=node.status)
            node = await kubelet.client.update_status(node)
        self._uid = node.metadata.uid or "" if node.metadata is not None else ""
        await self._renew_lease()
        interval = self.lease_duration_seconds / RENEWALS_PER_DURATION
        self._after(interval * clock.random.random(), "lease")
        self._after(STATUS_SECONDS * (0.5 + clock.random.random() / 2), "status")

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def set_ready(self, not_ready: str) -> None:
        """Report a change of the Ready condition at once; "" is ready."""
        if not_ready != self._not_ready and self._uid:
            self._not_ready = not_ready
            await self._report()

    def _after(self, delay_seconds: float, what: str) -> None:
        self._timers[what] = self._kubelet.clock.call_later(delay_seconds, self._beat, what)

    def _beat(self, what: str) -> None:
        self._kubelet.begin_inline(self._heartbeat, what)

    async def _heartbeat(self, what: str) -> None:
        interval = STATUS_SECONDS if what == "status" else self.lease_duration_seconds / RENEWALS_PER_DURATION
        try:
            await (self._report() if what == "status" else self._renew_lease())
            self._failures = 0
        except self._kubelet.transient as error:
            interval = min(RETRY_SECONDS_MIN * 2**self._failures, RETRY_SECONDS_MAX, interval)
            self._failures += 1
            self._kubelet.log.warning("heartbeat_failed", what=what, error=str(error))
        self._after(interval, what)

    async def _renew_lease(self) -> None:
        kubelet, lease = self._kubelet, self._lease
        now = kubelet.clock.now_rfc3339_micro()
        if lease is not None and lease.spec is not None:
            try:
                self._lease = await kubelet.client.update(replace(lease, spec=replace(lease.spec, renew_time=now)))
                return
            except StatusError as error:
                if not is_not_found(error) and error.code != 409:
                    raise
        duration = max(1, round(self.lease_duration_seconds))
        wanted = build_lease(kubelet.identity.name, self._uid, duration, now)
        try:
            self._lease = await kubelet.client.create(wanted)
        except StatusError as error:
            if not is_already_exists(error):
                raise
            existing: Lease = await kubelet.client.get(
                "leases.coordination.k8s.io", kubelet.identity.name, LEASE_NAMESPACE
            )
            self._lease = await kubelet.client.update(replace(existing, spec=wanted.spec))

    async def _report(self) -> None:
        kubelet = self._kubelet
        try:
            node: Node = await kubelet.client.get("nodes", kubelet.identity.name)
        except StatusError as error:
            if not is_not_found(error):
                raise
            self.close()
            await self.register(self._not_ready)  # somebody deleted it: a living kubelet registers again
            return
        if node.status is not None:
            now = kubelet.clock.now_rfc3339()
            status = replace(node.status, conditions=conditions(node.status.conditions, now, self._not_ready))
            await kubelet.client.update_status(replace(node, status=status))
