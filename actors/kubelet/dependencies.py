"""What pods refer to: ConfigMaps, Secrets, services, tokens, volumes. Looked up when a container starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api.core_v1 import Pod, Service
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.apiserver.messages import Request
from kubeloop.actors.client.informer import Informer
from kubeloop.actors.kube_proxy.messages import ServiceAddresses
from kubeloop.actors.kubelet.environment import service_variables
from kubeloop.actors.kubelet.volumes import VolumeError, VolumeManager, volume_references
from kubeloop.runtime.actor import ActorRef, ActorStopped

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.actor import Kubelet
    from kubeloop.actors.kubelet.worker import PodWorker

TOKEN_SECONDS = 3600


class Dependencies:
    """One kubelet's. The informer of services starts with the first container that looks at its environment."""

    __slots__ = ("_kubelet", "_proxy", "_services", "_volumes")

    def __init__(self, kubelet: "Kubelet", proxy: ActorRef | None) -> None:
        self._kubelet = kubelet
        self._proxy = proxy
        self._services: Informer[Service] | None = None
        self._volumes: VolumeManager | None = None

    async def fetch(self, namespace: str, references: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """The ConfigMaps and Secrets that exist, by ("configmaps" | "secrets", name)."""
        found: dict[tuple[str, str], Any] = {}
        for kind, name in references:
            try:
                found[kind, name] = await self._kubelet.client.get(kind, name, namespace)
            except StatusError as error:
                if not is_not_found(error):
                    raise
        return found

    async def service_environment(self, pod: Pod) -> dict[str, str]:
        """The variables of the services that the pod may know."""
        if self._services is None:
            self._services = self._kubelet.factory.informer(Service)
            await self._kubelet.factory.start()
        await self._services.wait_for_sync()
        addresses: Mapping[tuple[str, str, int], tuple[str, int]] = {}
        if self._proxy is not None:
            try:
                addresses = await self._proxy.ask(ServiceAddresses())
            except ActorStopped:
                if self._proxy.host:
                    raise  # it will be back, and the container must know where it listens
        spec, metadata = pod.spec, pod.metadata
        assert spec is not None and metadata is not None
        return service_variables(
            self._services.list(),
            metadata.namespace or "",
            links=spec.enable_service_links is not False,
            addresses=addresses,
        )

    async def set_up_volumes(self, worker: "PodWorker") -> dict[str, Path]:
        """Make the pod's volumes; volume name to host path. VolumeError."""
        if self._volumes is None:
            self._volumes = VolumeManager(Path(self._kubelet.runtime.volumes_dir))
        sources = await self.fetch(worker.namespace, volume_references(worker.pod))
        tokens = await self._tokens(worker)
        return self._volumes.set_up(worker.pod, worker.uid, worker.facts(), sources, tokens)

    async def _tokens(self, worker: "PodWorker") -> dict[str, str]:
        """Audience to token, for the projected service account tokens of the pod."""
        spec = worker.pod.spec
        assert spec is not None
        audiences: dict[str, None] = {}
        for volume in spec.volumes:
            for source in volume.projected.sources if volume.projected is not None else ():
                if source.service_account_token is not None:
                    audiences[source.service_account_token.audience or ""] = None
        tokens: dict[str, str] = {}
        for audience in audiences:
            tokens[audience] = await self._token(worker, spec.service_account_name or "default", audience)
        return tokens

    async def _token(self, worker: "PodWorker", account: str, audience: str) -> str:
        from kubeloop.actors.api.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec

        bound = BoundObjectReference(api_version="v1", kind="Pod", name=worker.name, uid=worker.uid)
        audiences = [audience] if audience else ()
        request = TokenRequest(
            spec=TokenRequestSpec(audiences=audiences, bound_object_ref=bound, expiration_seconds=TOKEN_SECONDS)
        )
        client = self._kubelet.client
        call = Request(
            "create", "", "v1", "serviceaccounts", worker.namespace, account, "token", request,
            user=client.user, user_agent=client.user_agent,
        )  # fmt: skip
        try:
            answer = await client.raw(call)
        except StatusError as error:
            raise VolumeError(f"failed to fetch token: {error.message}") from None
        status = answer.body.status
        return status.token or "" if status is not None else ""

    def forget(self, uid: str) -> None:
        """The pod is gone: so are its volumes."""
        if self._volumes is not None:
            self._volumes.tear_down(uid)
