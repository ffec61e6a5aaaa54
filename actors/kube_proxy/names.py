"""The DNS names of services, as cluster DNS resolves them. Pure. "DNS for Services and Pods" of the documentation."""

import ipaddress
from collections.abc import Callable
from typing import Any

import msgspec

DOMAIN = ".svc.cluster.local"


class ServiceName(msgspec.Struct, frozen=True):
    """A name that means a service; `hostname` picks one endpoint of a headless one."""

    namespace: str
    name: str
    hostname: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def resolve(host: str, namespace: str, exists: Callable[[str], Any]) -> ServiceName | None:
    """What `host` means to a pod of `namespace`; `exists(NAMESPACE/NAME)` says whether there is such a service.

    web, web.ns, web.ns.svc, web.ns.svc.cluster.local; with one label before, an endpoint's hostname.
    """
    bare = host.lower().rstrip(".")
    qualified = False
    for suffix in (DOMAIN, ".svc"):
        if bare.endswith(suffix):
            bare, qualified = bare[: -len(suffix)], True
            break
    labels = bare.split(".")
    candidates: list[ServiceName] = []
    if len(labels) == 1 and not qualified:
        candidates = [ServiceName(namespace, labels[0])]
    elif len(labels) == 2:
        candidates = [ServiceName(labels[1], labels[0])]
        if not qualified:
            candidates.append(ServiceName(namespace, labels[1], labels[0]))
    elif len(labels) == 3:
        candidates = [ServiceName(labels[2], labels[1], labels[0])]
    return next((candidate for candidate in candidates if exists(candidate.key)), None)
