"""The default policy: the roles and bindings that the "Using RBAC Authorization" page lists under "Default roles".

A rule is a line: `verbs  group: resources`, with `core` for the core group, several groups joined by commas, and after
a `#` the names of the objects; or `verbs  /paths`. READ, WRITE and ALL_VERBS stand for the usual sets of verbs.
"""

from collections.abc import Mapping, Sequence

VERBS: Mapping[str, str] = {
    "READ": "get list watch",
    "FEED": "list watch",
    "WRITE": "create delete deletecollection patch update",
    "ALL_VERBS": "create delete deletecollection get list patch update watch",
}
EVENTS = "create patch update  core,events.k8s.io: events"
KUBE_SYSTEM, KUBE_PUBLIC = "kube-system", "kube-public"

ADMIN_ONLY = (
    "create  authorization.k8s.io: localsubjectaccessreviews",
    "ALL_VERBS  rbac.authorization.k8s.io: rolebindings roles",
)
EDIT_ONLY = (
    "READ  core: pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
    "impersonate  core: serviceaccounts",
    "WRITE  core: pods pods/attach pods/exec pods/portforward pods/proxy",
    "create  core: pods/eviction",
    "WRITE  core: configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
    "serviceaccounts services services/proxy",
    "create  core: serviceaccounts/token",
    "WRITE  core,events.k8s.io: events",
    "WRITE  apps: daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale "
    "statefulsets statefulsets/scale",
    "WRITE  autoscaling: horizontalpodautoscalers",
    "WRITE  batch: cronjobs jobs",
    "WRITE  extensions: daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies "
    "replicasets replicasets/scale replicationcontrollers/scale",
    "WRITE  policy: poddisruptionbudgets",
    "WRITE  networking.k8s.io: ingresses networkpolicies",
    "ALL_VERBS  coordination.k8s.io: leases",
    "WRITE  resource.k8s.io: resourceclaims resourceclaimtemplates",
)
VIEW_ONLY = (
    "READ  core: configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
    "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
    "READ  core: bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
    "resourcequotas resourcequotas/status",
    "READ  core: namespaces",
    "READ  core,events.k8s.io: events",
    "READ  discovery.k8s.io: endpointslices",
    "READ  apps: controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status "
    "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    "READ  autoscaling: horizontalpodautoscalers horizontalpodautoscalers/status",
    "READ  batch: cronjobs cronjobs/status jobs jobs/status",
    "READ  extensions: daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses "
    "ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
    "READ  policy: poddisruptionbudgets poddisruptionbudgets/status",
    "READ  networking.k8s.io: ingresses ingresses/status networkpolicies",
    "READ  resource.k8s.io: resourceclaims resourceclaims/status resourceclaimtemplates",
)

NODE = (
    "create  authentication.k8s.io: tokenreviews",
    "create  authorization.k8s.io: localsubjectaccessreviews subjectaccessreviews",
    "READ  core: services",
    "create get list watch  core: nodes",
    "patch update  core: nodes/status",
    "patch update  core: nodes",
    EVENTS,
    "READ  core: pods",
    "create delete  core: pods",
    "patch update  core: pods/status",
    "create  core: pods/eviction",
    "READ  core: configmaps secrets",
    "get  core: persistentvolumeclaims persistentvolumes",
    "get  core: endpoints",
    "create get list watch  certificates.k8s.io: certificatesigningrequests",
    "create delete get patch update  coordination.k8s.io: leases",
    "get  storage.k8s.io: volumeattachments",
    "create  core: serviceaccounts/token",
    "get patch update  core: persistentvolumeclaims/status",
    "READ  storage.k8s.io: csidrivers",
    "create delete get patch update  storage.k8s.io: csinodes",
    "READ  node.k8s.io: runtimeclasses",
    "get  resource.k8s.io: resourceclaims",
    "deletecollection  resource.k8s.io: resourceslices",
    "get  core: serviceaccounts",
)
SCHEDULER = (
    EVENTS,
    "create  coordination.k8s.io: leases",
    "get list update watch  coordination.k8s.io: leases # kube-scheduler",
    "ALL_VERBS  coordination.k8s.io: leasecandidates",
    "READ  core: nodes",
    "delete get list watch  core: pods",
    "create  core: bindings pods/binding",
    "patch update  core: pods/status",
    "READ  core: replicationcontrollers services",
    "READ  apps,extensions: replicasets",
    "READ  apps: statefulsets",
    "READ  policy: poddisruptionbudgets",
    "READ  core: persistentvolumeclaims persistentvolumes",
    "create  authentication.k8s.io: tokenreviews",
    "create  authorization.k8s.io: subjectaccessreviews",
    "READ  storage.k8s.io: csinodes",
    "READ  storage.k8s.io: volumeattachments",
    "READ  core: namespaces",
    "READ  storage.k8s.io: csidrivers",
    "READ  storage.k8s.io: csistoragecapacities",
    "READ  resource.k8s.io: deviceclasses",
    "get list patch update watch  resource.k8s.io: resourceclaims",
    "get list patch update watch  resource.k8s.io: resourceclaims/status",
    "update  core: pods/finalizers",
    "READ  resource.k8s.io: resourceslices",
    "create delete  resource.k8s.io: resourceclaims",
    "patch update  resource.k8s.io: resourceclaims/binding",
)
KUBE_CONTROLLER_MANAGER = (
    EVENTS,
    "create  coordination.k8s.io: leases",
    "get update  coordination.k8s.io: leases # kube-controller-manager",
    "create  core: secrets serviceaccounts",
    "delete  core: secrets",
    "get  core: configmaps namespaces secrets serviceaccounts",
    "update  core: secrets serviceaccounts",
    "create  authentication.k8s.io: tokenreviews",
    "create  authorization.k8s.io: subjectaccessreviews",
    "FEED  *: *",
    "create  core: serviceaccounts/token",
)
CERTIFICATES = "certificates.k8s.io"
SIGNERS = "system:certificates.k8s.io"
SIGNER_NAMES = (
    "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving "
    "kubernetes.io/legacy-unknown"
)

CLUSTER_ROLES: Mapping[str, Sequence[str]] = {
    "cluster-admin": ("*  *: *", "*  *"),
    "system:aggregate-to-admin": ADMIN_ONLY,
    "system:aggregate-to-edit": EDIT_ONLY,
    "system:aggregate-to-view": VIEW_ONLY,
    "system:auth-delegator": (
        "create  authentication.k8s.io: tokenreviews",
        "create  authorization.k8s.io: subjectaccessreviews",
    ),
    "system:basic-user": (
        "create  authorization.k8s.io: selfsubjectaccessreviews selfsubjectrulesreviews",
        "create  authentication.k8s.io: selfsubjectreviews",
    ),
    f"{SIGNERS}:certificatesigningrequests:nodeclient": (
        f"create  {CERTIFICATES}: certificatesigningrequests/nodeclient",
    ),
    f"{SIGNERS}:certificatesigningrequests:selfnodeclient": (
        f"create  {CERTIFICATES}: certificatesigningrequests/selfnodeclient",
    ),
    **{
        f"{SIGNERS}:{name.partition('/')[2]}-approver": (f"approve  {CERTIFICATES}: signers # {name}",)
        for name in SIGNER_NAMES.split()
    },
    "system:discovery": (
        "get  /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    ),
    "system:heapster": ("READ  core: events namespaces nodes pods", "READ  extensions: deployments"),
    "system:kube-aggregator": ("READ  core: endpoints services",),
    "system:kube-controller-manager": KUBE_CONTROLLER_MANAGER,
    "system:kube-dns": ("FEED  core: endpoints services",),
    "system:kube-scheduler": SCHEDULER,
    "system:kubelet-api-admin": (
        "READ  core: nodes",
        "proxy  core: nodes",
        "*  core: nodes/log nodes/metrics nodes/proxy nodes/stats",
        "*  core: nodes/configz nodes/healthz nodes/pods",
    ),
    "system:monitoring": (
        "get  /flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz",
        "get  core: nodes/metrics",
    ),
    "system:node": NODE,
    "system:node-bootstrapper": ("create get list watch  certificates.k8s.io: certificatesigningrequests",),
    "system:node-problem-detector": ("get  core: nodes", "patch  core: nodes/status", EVENTS),
    "system:node-proxier": (
        "FEED  core: endpoints services",
        "READ  core: nodes",
        EVENTS,
        "FEED  networking.k8s.io: servicecidrs",
        "FEED  discovery.k8s.io: endpointslices",
    ),
    "system:persistent-volume-provisioner": (
        "create delete get list watch  core: persistentvolumes",
        "get list update watch  core: persistentvolumeclaims",
        "READ  storage.k8s.io: storageclasses",
        "watch  core: events",
        EVENTS,
    ),
    "system:public-info-viewer": ("get  /healthz /livez /readyz /version /version/",),
    "system:service-account-issuer-discovery": (
        "get  /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    ),
    "system:volume-scheduler": (
        "get list patch update watch  core: persistentvolumes",
        "READ  storage.k8s.io: storageclasses",
        "get list patch update watch  core: persistentvolumeclaims",
    ),
}

# role -> the label of the roles that it is made of; role -> the one that it is a part of
AGGREGATED: Mapping[str, str] = {"admin": "admin", "edit": "edit", "view": "view"}
PART_OF: Mapping[str, str] = {
    "edit": "admin",
    "view": "edit",
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
}

CLUSTER_ROLE_BINDINGS: Mapping[str, Sequence[str]] = {
    "cluster-admin": ("Group system:masters",),
    "system:basic-user": ("Group system:authenticated",),
    "system:discovery": ("Group system:authenticated",),
    "system:kube-controller-manager": ("User system:kube-controller-manager",),
    "system:kube-dns": ("ServiceAccount kube-system/kube-dns",),
    "system:kube-scheduler": ("User system:kube-scheduler",),
    "system:monitoring": ("Group system:monitoring",),
    "system:node": (),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:public-info-viewer": ("Group system:authenticated", "Group system:unauthenticated"),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
    "system:volume-scheduler": ("User system:kube-scheduler",),
}

LEADER = (
    "create get list update watch  coordination.k8s.io: leases",
    "create get list update watch  coordination.k8s.io: leasecandidates",
)
ROLES: Mapping[tuple[str, str], Sequence[str]] = {
    (KUBE_PUBLIC, "system:controller:bootstrap-signer"): (
        "READ  core: configmaps",
        "update  core: configmaps # cluster-info",
        EVENTS,
    ),
    (KUBE_SYSTEM, "extension-apiserver-authentication-reader"): (
        "READ  core: configmaps # extension-apiserver-authentication",
    ),
    (KUBE_SYSTEM, "system::leader-locking-kube-controller-manager"): LEADER,
    (KUBE_SYSTEM, "system::leader-locking-kube-scheduler"): LEADER,
    (KUBE_SYSTEM, "system:controller:bootstrap-signer"): ("READ  core: secrets",),
    (KUBE_SYSTEM, "system:controller:cloud-provider"): ("create get list watch  core: configmaps",),
    (KUBE_SYSTEM, "system:controller:token-cleaner"): ("delete get list watch  core: secrets", EVENTS),
}
# (namespace, binding) -> the role and who has it
ROLE_BINDINGS: Mapping[tuple[str, str], tuple[str, Sequence[str]]] = {
    (KUBE_PUBLIC, "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ("ServiceAccount kube-system/bootstrap-signer",),
    ),
    (KUBE_SYSTEM, "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        ("User system:kube-controller-manager", "User system:kube-scheduler"),
    ),
    (KUBE_SYSTEM, "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        (
            "User system:kube-controller-manager",
            "ServiceAccount kube-system/kube-controller-manager",
            "ServiceAccount kube-system/leader-election-controller",
        ),
    ),
    (KUBE_SYSTEM, "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        ("User system:kube-scheduler", "ServiceAccount kube-system/kube-scheduler"),
    ),
    **{
        (KUBE_SYSTEM, f"system:controller:{name}"): (
            f"system:controller:{name}",
            (f"ServiceAccount kube-system/{name}",),
        )
        for name in ("bootstrap-signer", "cloud-provider", "token-cleaner")
    },
}
