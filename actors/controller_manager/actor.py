"""The controller manager's actor: starts the selected controllers on shared informers. It holds no state of its own.

After a crash it lists and watches again, and each controller looks at the whole world once: nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.client.client import Client
from kubeloop.actors.controller_manager.cluster_role_aggregation import ClusterRoleAggregationController
from kubeloop.actors.controller_manager.controller import Controller, ControllerContext
from kubeloop.actors.controller_manager.daemon_set import DaemonSetController
from kubeloop.actors.controller_manager.deployment import DeploymentController
from kubeloop.actors.controller_manager.disruption import DisruptionController
from kubeloop.actors.controller_manager.endpoint_slice import EndpointSliceController
from kubeloop.actors.controller_manager.endpoints import EndpointsController
from kubeloop.actors.controller_manager.garbage_collector import GarbageCollector
from kubeloop.actors.controller_manager.job import JobController
from kubeloop.actors.controller_manager.namespace import NamespaceController
from kubeloop.actors.controller_manager.node_lifecycle import (
    MONITOR_GRACE_SECONDS,
    STARTUP_GRACE_SECONDS,
    NodeLifecycleController,
)
from kubeloop.actors.controller_manager.pod_garbage import TERMINATED_PODS_MAX, PodGarbageCollector
from kubeloop.actors.controller_manager.replica_set import ReplicaSetController, ReplicationControllerController
from kubeloop.actors.controller_manager.root_ca import RootCaPublisher
from kubeloop.actors.controller_manager.selection import select_controllers
from kubeloop.actors.controller_manager.service_account import ServiceAccountController
from kubeloop.actors.controller_manager.stateful_set import StatefulSetController
from kubeloop.actors.controller_manager.taint_eviction import TaintEvictionController
from kubeloop.actors.controller_manager.ttl_after_finished import TtlAfterFinishedController
from kubeloop.runtime.actor import Actor, UnknownMessage

CONTROLLERS: tuple[type[Controller], ...] = (
    NamespaceController,
    ServiceAccountController,
    RootCaPublisher,
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    EndpointSliceController,
    EndpointsController,
    NodeLifecycleController,
    TaintEvictionController,
    PodGarbageCollector,
    DaemonSetController,
    StatefulSetController,
    JobController,
    TtlAfterFinishedController,
    DisruptionController,
    ClusterRoleAggregationController,
    GarbageCollector,
)
NAMES: Mapping[str, bool] = {controller.NAME: controller.ON_BY_DEFAULT for controller in CONTROLLERS}


class PublishRootCa(msgspec.Struct, frozen=True):
    """The cluster has a CA now: `certificate`, PEM text, goes into each namespace. Answer: None."""

    certificate: str


class ControllerManager(Actor):
    """kube-controller-manager.

    `controllers` is the real --controllers flag's list ("*", "name", "-name"; names with or without "-controller").
    `root_ca` is PEM text; without it kube-root-ca.crt is published from the first `PublishRootCa` on.
    Raises ValueError for an unknown controller.
    """

    def __init__(
        self,
        client: Client,
        *,
        controllers: Sequence[str] = ("*",),
        root_ca: str = "",
        node_monitor_grace_seconds: float = MONITOR_GRACE_SECONDS,
        node_startup_grace_seconds: float = STARTUP_GRACE_SECONDS,
        terminated_pods_max: int = TERMINATED_PODS_MAX,
        more: Sequence[type[Controller]] = (),
    ) -> None:
        super().__init__()
        names = select_controllers(controllers, NAMES)
        self.client = client
        self.classes = (*(each for each in CONTROLLERS if each.NAME in names), *more)
        self.tuning: Mapping[str, Mapping[str, Any]] = {
            RootCaPublisher.NAME: {"root_ca": root_ca},
            NodeLifecycleController.NAME: {
                "monitor_grace_seconds": node_monitor_grace_seconds,
                "startup_grace_seconds": node_startup_grace_seconds,
            },
            PodGarbageCollector.NAME: {"terminated_pods_max": terminated_pods_max},
        }
        self.controllers: list[Controller] = []

    async def on_start(self) -> None:
        context = ControllerContext(self, self.client)
        for class_ in self.classes:
            controller = class_(context)
            for setting, value in self.tuning.get(class_.NAME, {}).items():
                setattr(controller, setting, value)
            controller.set_up()
            self.controllers.append(controller)
        await context.start()
        for controller in self.controllers:
            controller.start()

    async def on_message(self, message: Any) -> None:
        if type(message) is not PublishRootCa:
            raise UnknownMessage(message)
        for controller in self.controllers:
            if isinstance(controller, RootCaPublisher):
                await controller.publish(message.certificate)

    def describe(self) -> str:
        """What it holds, in words."""
        return f"{len(self.controllers)} controllers"
