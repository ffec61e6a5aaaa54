"""What the EndpointSlice and the Endpoints controller share: services of a pod, pods of a service."""

from __future__ import annotations

from collections.abc import Sequence

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Pod, Service
from kubeloop.actors.controller_manager import endpoint_slices, indexes, pod_facts
from kubeloop.actors.controller_manager.controller import Controller


class ServiceEndpointsController(Controller):
    """Queues a service when it changes, or when a pod that its selector matches changes as far as endpoints go."""

    RESOURCE = "services"

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_LABEL, indexes.label_pairs)
        self.services = self.context.index("services", indexes.BY_SELECTOR, indexes.service_selector)
        self.watch("pods", self._on_pod)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if not self.services.index_values(indexes.BY_SELECTOR):
            return  # no service selects any pod
        if old is not None and new is not None and _endpoint_alike(old, new):
            return
        if new is not None and old is None and not pod_facts.pod_ips(new):
            return
        keys: dict[str, None] = {}
        for pod in (old, new):
            if pod is None or (pod is old and new is not None and _same_labels(old, new)):
                continue
            labels = meta.labels(pod)
            for pair in indexes.label_pairs(pod):
                for service in self.services.by_index(indexes.BY_SELECTOR, pair):
                    if indexes.matches(service.spec.selector, labels):
                        keys[meta.key(service)] = None
        for key in keys:
            service = self.services.get(key)
            if service is not None:
                self.enqueue_gathered(key, self._size(service))

    def _size(self, service: Service) -> int:
        selector = endpoint_slices.spec_of(service).selector
        pair = indexes.selector_pair(meta.namespace(service) or "", selector)
        return self.pods.count_by_index(indexes.BY_LABEL, pair)

    def pods_of(self, service: Service) -> Sequence[Pod]:
        """The pods that the selector matches, the oldest name first."""
        selector = endpoint_slices.spec_of(service).selector
        pair = indexes.selector_pair(meta.namespace(service) or "", selector)
        candidates = self.pods.by_index(indexes.BY_LABEL, pair)
        if len(selector) == 1:
            return candidates
        return [pod for pod in candidates if indexes.matches(selector, meta.labels(pod))]


def _same_labels(old: Pod, new: Pod) -> bool:
    return old.metadata.labels is new.metadata.labels or dict(old.metadata.labels) == dict(new.metadata.labels)


def _endpoint_alike(old: Pod, new: Pod) -> bool:
    """No endpoint changes with it: addresses, readiness, termination, node and labels are what they were."""
    if not _same_labels(old, new) or pod_facts.is_terminating(old) != pod_facts.is_terminating(new):
        return False
    if pod_facts.node_name(old) != pod_facts.node_name(new):
        return False
    if old.status is new.status:
        return True
    return (
        pod_facts.is_ready(old) == pod_facts.is_ready(new)
        and pod_facts.is_terminated(old) == pod_facts.is_terminated(new)
        and pod_facts.pod_ips(old) == pod_facts.pod_ips(new)
    )
