"""Which kinds the API server knows at all: those that it serves, and those of versions that were served once.

What a body says that it is decides how it is refused: a kind that nobody knows, one that cannot become the kind that
the path names, or the right kind in a version that is not the path's.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from kubeloop.actors.api.resources import all_resources

OPTIONS = (
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "WatchEvent",
)
_ACCESS_REVIEWS = (
    "LocalSubjectAccessReview",
    "SelfSubjectAccessReview",
    "SelfSubjectRulesReview",
    "SubjectAccessReview",
)
_CLAIMS = ("DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice")
_ROLES = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_POLICIES = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
_FLOWS = ("FlowSchema", "PriorityLevelConfiguration")
_MORE_OF_SERVED: Mapping[str, Sequence[str]] = {
    "v1": (
        "APIGroup",
        "APIGroupList",
        "APIResourceList",
        "APIVersions",
        "NodeProxyOptions",
        "PodAttachOptions",
        "PodExecOptions",
        "PodLogOptions",
        "PodPortForwardOptions",
        "PodProxyOptions",
        "PodStatusResult",
        "RangeAllocation",
        "SerializedReference",
        "ServiceProxyOptions",
        "Status",
    ),
    "autoscaling/v1": ("Scale",),
    "authentication.k8s.io/v1": ("TokenRequest",),
    "policy/v1": ("Eviction",),
}
# versions that are not served, or not by default: their kinds
_UNSERVED: Mapping[str, Sequence[str]] = {
    "admissionregistration.k8s.io/v1alpha1": _POLICIES,
    "admissionregistration.k8s.io/v1beta1": (
        *_POLICIES,
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ),
    "apiextensions.k8s.io/v1beta1": ("CustomResourceDefinition",),
    "apiregistration.k8s.io/v1beta1": ("APIService",),
    "apps/v1beta1": ("ControllerRevision", "Deployment", "DeploymentRollback", "Scale", "StatefulSet"),
    "apps/v1beta2": ("ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "Scale", "StatefulSet"),
    "authentication.k8s.io/v1alpha1": ("SelfSubjectReview",),
    "authentication.k8s.io/v1beta1": ("SelfSubjectReview", "TokenReview"),
    "authorization.k8s.io/v1beta1": _ACCESS_REVIEWS,
    "batch/v1beta1": ("CronJob",),
    "certificates.k8s.io/v1alpha1": ("ClusterTrustBundle", "PodCertificateRequest"),
    "certificates.k8s.io/v1beta1": ("CertificateSigningRequest", "ClusterTrustBundle", "PodCertificateRequest"),
    "coordination.k8s.io/v1alpha2": ("LeaseCandidate",),
    "coordination.k8s.io/v1beta1": ("Lease", "LeaseCandidate"),
    "discovery.k8s.io/v1beta1": ("EndpointSlice",),
    "events.k8s.io/v1beta1": ("Event",),
    "extensions/v1beta1": (
        "DaemonSet",
        "Deployment",
        "DeploymentRollback",
        "Ingress",
        "NetworkPolicy",
        "ReplicaSet",
        "Scale",
    ),
    "flowcontrol.apiserver.k8s.io/v1beta1": _FLOWS,
    "flowcontrol.apiserver.k8s.io/v1beta2": _FLOWS,
    "flowcontrol.apiserver.k8s.io/v1beta3": _FLOWS,
    "networking.k8s.io/v1beta1": ("IPAddress", "Ingress", "IngressClass", "ServiceCIDR"),
    "node.k8s.io/v1alpha1": ("RuntimeClass",),
    "node.k8s.io/v1beta1": ("RuntimeClass",),
    "policy/v1beta1": ("Eviction", "PodDisruptionBudget"),
    "rbac.authorization.k8s.io/v1alpha1": _ROLES,
    "rbac.authorization.k8s.io/v1beta1": _ROLES,
    "resource.k8s.io/v1beta1": _CLAIMS,
    "resource.k8s.io/v1beta2": _CLAIMS,
    "scheduling.k8s.io/v1alpha1": ("PriorityClass",),
    "scheduling.k8s.io/v1beta1": ("PriorityClass",),
    "storage.k8s.io/v1alpha1": ("CSIStorageCapacity", "VolumeAttachment", "VolumeAttributesClass"),
    "storage.k8s.io/v1beta1": (
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    ),
}
# (group, kind) that is the same kind as another group's of that name
_SAME_AS: Mapping[tuple[str, str], str] = {
    ("extensions", "DaemonSet"): "apps",
    ("extensions", "Deployment"): "apps",
    ("extensions", "DeploymentRollback"): "apps",
    ("extensions", "Ingress"): "networking.k8s.io",
    ("extensions", "NetworkPolicy"): "networking.k8s.io",
    ("extensions", "ReplicaSet"): "apps",
    ("extensions", "Scale"): "autoscaling",
    ("apps", "Scale"): "autoscaling",
    ("", "Event"): "events.k8s.io",
}


@lru_cache(1)
def _registered() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for api_version, kinds in (*_MORE_OF_SERVED.items(), *_UNSERVED.items()):
        found.setdefault(api_version, set()).update(kinds)
    for resource in all_resources():
        api_version = f"{resource.group}/{resource.version}" if resource.group else resource.version
        found.setdefault(api_version, set()).add(resource.kind)
    return {api_version: frozenset(kinds) for api_version, kinds in found.items()}


def is_registered(api_version: str, kind: str) -> bool:
    """Whether there is such a kind; lists and the kinds of options belong to every version."""
    kinds = _registered().get(api_version)
    return kinds is not None and (kind in kinds or kind.removesuffix("List") in kinds or kind in OPTIONS)


def converts(group: str, kind: str, wanted_group: str, wanted_kind: str) -> bool:
    """Whether a kind is the wanted one, in another version or in the group that it came from."""
    ours, theirs = _SAME_AS.get((wanted_group, wanted_kind), wanted_group), _SAME_AS.get((group, kind), group)
    return kind == wanted_kind and ours == theirs
