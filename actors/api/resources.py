"""The table of resources: which kinds there are, how they are called, and where their types are.

All stable kinds of Kubernetes 1.36, in discovery order; the first version of a group is the preferred one. A custom
resource is a ResourceType too, without a type: its objects are dicts.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

# (group, version) -> "Kind plural [short=NAMES] [in=CATEGORIES] [cluster]"; the singular is the kind in lower case.
_TABLE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "v1"): (
        "Binding bindings",
        "ComponentStatus componentstatuses short=cs cluster",
        "ConfigMap configmaps short=cm",
        "Endpoints endpoints short=ep",
        "Event events short=ev",
        "LimitRange limitranges short=limits",
        "Namespace namespaces short=ns cluster",
        "Node nodes short=no cluster",
        "PersistentVolumeClaim persistentvolumeclaims short=pvc",
        "PersistentVolume persistentvolumes short=pv cluster",
        "Pod pods short=po in=all",
        "PodTemplate podtemplates",
        "ReplicationController replicationcontrollers short=rc in=all",
        "ResourceQuota resourcequotas short=quota",
        "Secret secrets",
        "ServiceAccount serviceaccounts short=sa",
        "Service services short=svc in=all",
    ),
    ("apiregistration.k8s.io", "v1"): ("APIService apiservices in=api-extensions cluster",),
    ("apps", "v1"): (
        "ControllerRevision controllerrevisions",
        "DaemonSet daemonsets short=ds in=all",
        "Deployment deployments short=deploy in=all",
        "ReplicaSet replicasets short=rs in=all",
        "StatefulSet statefulsets short=sts in=all",
    ),
    ("events.k8s.io", "v1"): ("Event events short=ev",),
    ("authentication.k8s.io", "v1"): (
        "SelfSubjectReview selfsubjectreviews cluster",
        "TokenReview tokenreviews cluster",
    ),
    ("authorization.k8s.io", "v1"): (
        "LocalSubjectAccessReview localsubjectaccessreviews",
        "SelfSubjectAccessReview selfsubjectaccessreviews cluster",
        "SelfSubjectRulesReview selfsubjectrulesreviews cluster",
        "SubjectAccessReview subjectaccessreviews cluster",
    ),
    ("autoscaling", "v2"): ("HorizontalPodAutoscaler horizontalpodautoscalers short=hpa in=all",),
    ("autoscaling", "v1"): ("HorizontalPodAutoscaler horizontalpodautoscalers short=hpa in=all",),
    ("batch", "v1"): (
        "CronJob cronjobs short=cj in=all",
        "Job jobs in=all",
    ),
    ("certificates.k8s.io", "v1"): ("CertificateSigningRequest certificatesigningrequests short=csr cluster",),
    ("networking.k8s.io", "v1"): (
        "IngressClass ingressclasses cluster",
        "Ingress ingresses short=ing",
        "IPAddress ipaddresses short=ip cluster",
        "NetworkPolicy networkpolicies short=netpol",
        "ServiceCIDR servicecidrs cluster",
    ),
    ("policy", "v1"): ("PodDisruptionBudget poddisruptionbudgets short=pdb",),
    ("rbac.authorization.k8s.io", "v1"): (
        "ClusterRoleBinding clusterrolebindings cluster",
        "ClusterRole clusterroles cluster",
        "RoleBinding rolebindings",
        "Role roles",
    ),
    ("storage.k8s.io", "v1"): (
        "CSIDriver csidrivers cluster",
        "CSINode csinodes cluster",
        "CSIStorageCapacity csistoragecapacities",
        "StorageClass storageclasses short=sc cluster",
        "VolumeAttachment volumeattachments cluster",
        "VolumeAttributesClass volumeattributesclasses short=vac cluster",
    ),
    ("admissionregistration.k8s.io", "v1"): (
        "MutatingAdmissionPolicy mutatingadmissionpolicies in=api-extensions cluster",
        "MutatingAdmissionPolicyBinding mutatingadmissionpolicybindings in=api-extensions cluster",
        "MutatingWebhookConfiguration mutatingwebhookconfigurations in=api-extensions cluster",
        "ValidatingAdmissionPolicy validatingadmissionpolicies in=api-extensions cluster",
        "ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings in=api-extensions cluster",
        "ValidatingWebhookConfiguration validatingwebhookconfigurations in=api-extensions cluster",
    ),
    ("apiextensions.k8s.io", "v1"): (
        "CustomResourceDefinition customresourcedefinitions short=crd,crds in=api-extensions cluster",
    ),
    ("scheduling.k8s.io", "v1"): ("PriorityClass priorityclasses short=pc cluster",),
    ("coordination.k8s.io", "v1"): ("Lease leases",),
    ("node.k8s.io", "v1"): ("RuntimeClass runtimeclasses cluster",),
    ("discovery.k8s.io", "v1"): ("EndpointSlice endpointslices",),
    ("resource.k8s.io", "v1"): (
        "DeviceClass deviceclasses cluster",
        "ResourceClaim resourceclaims",
        "ResourceClaimTemplate resourceclaimtemplates",
        "ResourceSlice resourceslices cluster",
    ),
    ("flowcontrol.apiserver.k8s.io", "v1"): (
        "FlowSchema flowschemas cluster",
        "PriorityLevelConfiguration prioritylevelconfigurations cluster",
    ),
}


class UnknownResource(ValueError):
    """Nothing is called so: says what was asked for."""


class ResourceType(msgspec.Struct, frozen=True):
    """One resource of one group and version.

    type_path: module and class of its objects, as "kubeloop.actors.api.core_v1.Pod"; None for a custom resource.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    namespaced: bool = True
    type_path: str | None = None

    @property
    def api_version(self) -> str:
        """GROUP/VERSION, or VERSION in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """plural.group, or the plural in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def type(self) -> type[Any] | None:
        """The class of its objects, imported when first asked for; None: objects are dicts."""
        if self.type_path is None:
            return None
        found = _types.get(self.type_path)
        if found is None:
            module, _, name = self.type_path.rpartition(".")
            found = _types[self.type_path] = getattr(import_module(module), name)
        return found


_types: dict[str, type[Any]] = {}


def all_resources() -> tuple[ResourceType, ...]:
    """Every built-in resource, in discovery order."""
    return RESOURCES


def resource_for(what: Any) -> ResourceType:
    """The resource that is meant by a type (`Pod`), an object of it, (apiVersion, kind), or a name.

    Names are those that kubectl takes: plural, singular, short name, kind, each alone or with group, or with version
    and group: "pods", "po", "Deployment", "deployments.apps", "deployments.v1.apps".
    Raises UnknownResource (a ValueError) for what is not built in.
    """
    kind = type(what)
    if kind is ResourceType:
        return what  # type: ignore[no-any-return]
    if kind is str:
        found = _BY_NAME.get(what)
        return found if found is not None else _by_name(what)
    cls: Any = what if isinstance(what, type) else kind
    found = KNOWN_CLASSES.get(cls)
    if found is not None:
        return found
    if kind is tuple:
        return _by_kind(*what)
    if isinstance(what, Mapping):
        return _by_kind(str(what.get("apiVersion", "")), str(what.get("kind", "")))
    if getattr(cls, "KIND", ""):
        found = KNOWN_CLASSES[cls] = _by_kind(cls.API_VERSION, cls.KIND)
        return found
    raise UnknownResource(f"{what!r:.100} names no resource: give a type, a plural name, or an object")


def _by_kind(api_version: str, kind: str) -> ResourceType:
    found = _BY_KIND.get((api_version, kind))
    if found is None:
        raise UnknownResource(f'no matches for kind "{kind}" in version "{api_version}"')
    return found


def _by_name(name: str) -> ResourceType:
    found = _BY_NAME.get(name.lower())
    if found is None:
        raise UnknownResource(f'the server doesn\'t have a resource type "{name}"')
    return found


def _module(group: str) -> str:
    return group.partition(".")[0] or "core"


def _rows() -> Iterator[ResourceType]:
    for (group, version), rows in _TABLE.items():
        module = f"kubeloop.actors.api.{_module(group)}_{version}"
        for row in rows:
            kind, plural, *marks = row.split()
            options = dict(mark.partition("=")[::2] for mark in marks)
            yield ResourceType(
                group=group,
                version=version,
                kind=kind,
                plural=plural,
                singular=kind.lower(),
                short_names=tuple(options.get("short", "").split(",")) if "short" in options else (),
                categories=tuple(options.get("in", "").split(",")) if "in" in options else (),
                namespaced="cluster" not in options,
                type_path=f"{module}.{kind}",
            )


def _names() -> dict[str, ResourceType]:
    """Every name; of two that claim one, the first of the table wins (events of the core group, autoscaling/v2)."""
    names: dict[str, ResourceType] = {}
    for resource in RESOURCES:
        for name in (resource.plural, resource.singular, *resource.short_names):
            names.setdefault(name, resource)
            names.setdefault(f"{name}.{resource.group}" if resource.group else name, resource)
            names.setdefault(f"{name}.{resource.version}.{resource.group}", resource)
    return names


RESOURCES: tuple[ResourceType, ...] = tuple(_rows())
_BY_NAME: Mapping[str, ResourceType] = _names()
_BY_KIND: Mapping[tuple[str, str], ResourceType] = {
    (resource.api_version, resource.kind): resource for resource in RESOURCES
}
KNOWN_CLASSES: dict[type[Any], ResourceType] = {}
"""What `resource_for` has found for classes so far."""
