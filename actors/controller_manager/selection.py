"""Which controllers run: the words of kube-controller-manager's `--controllers` flag.

https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Controllers of a real kube-controller-manager that are not here: leaving one out is harmless, asking for it an error.
NOT_HERE: tuple[str, ...] = (
    "bootstrap-signer-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "device-taint-eviction-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    "horizontal-pod-autoscaler-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "node-ipam-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "podcertificaterequest-cleaner-controller",
    "resourceclaim-controller",
    "resourcequota-controller",
    "selinux-warning-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "serviceaccount-token-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "token-cleaner-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
)

# Short names that kube-controller-manager itself used to know, where adding "-controller" is not enough.
ALIASES: Mapping[str, str] = {
    "endpoint": "endpoints-controller",
    "garbagecollector": "garbage-collector-controller",
    "gc": "garbage-collector-controller",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
    "nodelifecycle": "node-lifecycle-controller",
    "podgc": "pod-garbage-collector-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
    "root-ca": "root-ca-certificate-publisher-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
}


def select_controllers(wanted: Sequence[str], known: Mapping[str, bool]) -> tuple[str, ...]:
    """The names that run, in the order of `known` (full name -> is it on by default).

    `*` is every controller that is on by default, `name` switches one on, `-name` off; the first word that names a
    controller decides, as in the real flag. Raises ValueError for a name that no controller has, and for asking for one
    that kubeloop does not have.
    """
    everything = False
    switched: dict[str, bool] = {}
    for word in wanted:
        if word == "*":
            everything = True
            continue
        off = word.startswith("-")
        name = full_name(word.removeprefix("-"), known)
        if name in known:
            switched.setdefault(name, not off)
        elif not off:
            raise ValueError(f"{word!r}: kube-controller-manager has a {name}, kubeloop does not")
    return tuple(name for name, default in known.items() if switched.get(name, everything and default))


def full_name(name: str, known: Mapping[str, bool]) -> str:
    """`deployment` and `deployment-controller` are both the latter. Raises ValueError for a name nobody has."""
    candidates = (name, f"{name}-controller", ALIASES.get(name, ""))
    for candidate in candidates:
        if candidate in known or candidate in NOT_HERE:
            return candidate
    raise ValueError(f"{name!r} is not in the list of known controllers: {', '.join(known)}")
