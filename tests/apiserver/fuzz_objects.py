"""An object of many a kind, valid and with much in it: what the fuzzers start from."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
LABELS = {"app": "a"}
TEMPLATE: Object = {
    "metadata": {"labels": LABELS, "annotations": {"example.com/a": "b"}},
    "spec": {
        "initContainers": [{"name": "init", "image": "i"}],
        "containers": [
            {
                "name": "app",
                "image": "i:1",
                "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 80, "protocol": "UDP"}],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "livenessProbe": {"httpGet": {"port": "http"}},
                "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            }
        ],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "z",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": LABELS},
            }
        ],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["h"]}],
        "securityContext": {"runAsUser": 1, "sysctls": []},
    },
}
JOB: Object = {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}, "completions": 2}
SELECTOR: Object = {"matchLabels": LABELS, "matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}
RULE: Object = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
WEBHOOK: Object = {
    "name": "w.example.com",
    "clientConfig": {"url": "https://localhost/x"},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "namespaceSelector": {"matchLabels": {"no": "where"}},
    "failurePolicy": "Ignore",
}
WIDGET_SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "minimum": 0, "default": 1},
                "text": {"type": "string", "maxLength": 20, "pattern": "^[a-z]*$"},
                "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "map": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "on": {"type": "boolean", "default": True}},
                    },
                },
                "either": {"x-kubernetes-int-or-string": True},
                "nothing": {"type": "string", "nullable": True},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "pod": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "more": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        },
        "status": {"type": "object", "properties": {"done": {"type": "integer"}}},
    },
}
CRD: Object = {
    "group": "example.com",
    "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"]},
    "scope": "Namespaced",
    "versions": [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.done"},
            },
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            "selectableFields": [{"jsonPath": ".spec.text"}],
        }
    ],
}
GADGETS: Object = {**CRD, "names": {"plural": "gadgets", "kind": "Gadget"}}
WIDGET: Object = {
    "spec": {
        "text": "a",
        "set": ["a", "b"],
        "map": [{"name": "x"}, {"name": "y", "on": False}],
        "either": "5%",
        "any": {"b": [1, {"c": None}]},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
        "more": {"a": 1.5},
    }
}
SUBJECT: Object = {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}
METRIC: Object = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
}
CSI: Object = {"driver": "d.example.com", "volumeHandle": "h"}
CLAIM: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
TARGET: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
PORTS: Object = {"ports": [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP", "name": "dns"}]}
PEERS: Object = {
    "podSelector": {},
    "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 80}]}],
}
BACKEND: Object = {"service": {"name": "s", "port": {"number": 80}}}
PATHS: Object = {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}

# (group, version, plural) -> kind and all of an object but metadata
OBJECTS: Mapping[tuple[str, str, str], tuple[str, Object]] = {
    ("", "v1", "configmaps"): ("ConfigMap", {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "aGk="}}),
    ("", "v1", "secrets"): ("Secret", {"type": "Opaque", "data": {"a": "aGk="}, "stringData": {"b": "x"}}),
    ("", "v1", "services"): ("Service", {"spec": {"selector": LABELS, **PORTS}}),
    ("", "v1", "endpoints"): ("Endpoints", {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}),
    ("", "v1", "pods"): ("Pod", {"spec": TEMPLATE["spec"]}),
    ("", "v1", "podtemplates"): ("PodTemplate", {"template": TEMPLATE}),
    ("", "v1", "replicationcontrollers"): (
        "ReplicationController",
        {"spec": {"selector": LABELS, "template": TEMPLATE}},
    ),
    ("", "v1", "limitranges"): ("LimitRange", {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
    ("", "v1", "resourcequotas"): ("ResourceQuota", {"spec": {"hard": {"pods": "5", "example.com/x": "1"}}}),
    ("", "v1", "serviceaccounts"): (
        "ServiceAccount",
        {"secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "p"}]},
    ),
    ("", "v1", "persistentvolumeclaims"): ("PersistentVolumeClaim", {"spec": CLAIM}),
    ("", "v1", "persistentvolumes"): (
        "PersistentVolume",
        {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": CSI}},
    ),
    ("", "v1", "nodes"): (
        "Node",
        {"spec": {"podCIDR": "10.1.0.0/24", "taints": [{"key": "a", "effect": "NoSchedule"}]}},
    ),
    ("", "v1", "namespaces"): ("Namespace", {}),
    ("", "v1", "events"): (
        "Event",
        {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "message": "m"},
    ),
    ("apps", "v1", "deployments"): (
        "Deployment",
        {"spec": {"selector": SELECTOR, "template": TEMPLATE, "replicas": 2}},
    ),
    ("apps", "v1", "daemonsets"): ("DaemonSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("apps", "v1", "replicasets"): ("ReplicaSet", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("apps", "v1", "statefulsets"): (
        "StatefulSet",
        {
            "spec": {
                "selector": SELECTOR,
                "template": TEMPLATE,
                "serviceName": "s",
                "volumeClaimTemplates": [{"metadata": {"name": "c"}, "spec": CLAIM}],
            }
        },
    ),
    ("apps", "v1", "controllerrevisions"): ("ControllerRevision", {"revision": 1, "data": {"a": [1]}}),
    ("batch", "v1", "jobs"): ("Job", {"spec": JOB}),
    ("batch", "v1", "cronjobs"): ("CronJob", {"spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": JOB}}}),
    ("autoscaling", "v2", "horizontalpodautoscalers"): (
        "HorizontalPodAutoscaler",
        {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, "metrics": [METRIC]}},
    ),
    ("autoscaling", "v1", "horizontalpodautoscalers"): (
        "HorizontalPodAutoscaler",
        {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, "targetCPUUtilizationPercentage": 5}},
    ),
    ("networking.k8s.io", "v1", "ingresses"): ("Ingress", {"spec": {"rules": [{"host": "a.b", "http": PATHS}]}}),
    ("networking.k8s.io", "v1", "ingressclasses"): ("IngressClass", {"spec": {"controller": "example.com/c"}}),
    ("networking.k8s.io", "v1", "networkpolicies"): ("NetworkPolicy", {"spec": PEERS}),
    ("discovery.k8s.io", "v1", "endpointslices"): (
        "EndpointSlice",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80, "name": ""}]},
    ),
    ("policy", "v1", "poddisruptionbudgets"): (
        "PodDisruptionBudget",
        {"spec": {"selector": SELECTOR, "maxUnavailable": "5%"}},
    ),
    ("rbac.authorization.k8s.io", "v1", "roles"): (
        "Role",
        {"rules": [{"apiGroups": [""], "verbs": ["*"], "resources": ["pods"]}]},
    ),
    ("rbac.authorization.k8s.io", "v1", "clusterroles"): (
        "ClusterRole",
        {"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]},
    ),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"): (
        "RoleBinding",
        {"roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}, "subjects": [SUBJECT]},
    ),
    ("storage.k8s.io", "v1", "storageclasses"): (
        "StorageClass",
        {"provisioner": "p.example.com", "parameters": {"a": "b"}},
    ),
    ("storage.k8s.io", "v1", "csidrivers"): ("CSIDriver", {"spec": {"tokenRequests": [{"audience": "a"}]}}),
    ("storage.k8s.io", "v1", "csinodes"): ("CSINode", {"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}}),
    ("storage.k8s.io", "v1", "volumeattachments"): (
        "VolumeAttachment",
        {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
    ),
    ("scheduling.k8s.io", "v1", "priorityclasses"): ("PriorityClass", {"value": 5}),
    ("coordination.k8s.io", "v1", "leases"): ("Lease", {"spec": {"holderIdentity": "h", "leaseDurationSeconds": 5}}),
    ("node.k8s.io", "v1", "runtimeclasses"): (
        "RuntimeClass",
        {"handler": "h", "overhead": {"podFixed": {"cpu": "1m"}}},
    ),
    ("events.k8s.io", "v1", "events"): (
        "Event",
        {
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "example.com/c",
            "reportingInstance": "i",
            "action": "A",
            "reason": "R",
            "type": "Normal",
            "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        },
    ),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"): (
        "ValidatingWebhookConfiguration",
        {"webhooks": [WEBHOOK]},
    ),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"): (
        "MutatingWebhookConfiguration",
        {"webhooks": [WEBHOOK]},
    ),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"): (
        "ValidatingAdmissionPolicy",
        {
            "spec": {
                "matchConstraints": {"resourceRules": [RULE], "namespaceSelector": {"matchLabels": {"no": "where"}}},
                "validations": [{"expression": "true"}],
            }
        },
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"): (
        "FlowSchema",
        {"spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 50}},
    ),
    ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"): (
        "PriorityLevelConfiguration",
        {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}},
    ),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"): ("CustomResourceDefinition", {"spec": GADGETS}),
    ("example.com", "v1", "widgets"): ("Widget", WIDGET),
}
NAMES: Mapping[str, str] = {"customresourcedefinitions": "gadgets.example.com"}
CLUSTER_WIDE = frozenset(
    (
        *("persistentvolumes", "nodes", "namespaces", "clusterroles", "ingressclasses", "storageclasses", "csidrivers"),
        *("csinodes", "volumeattachments", "priorityclasses", "runtimeclasses", "validatingwebhookconfigurations"),
        *("mutatingwebhookconfigurations", "validatingadmissionpolicies", "flowschemas", "prioritylevelconfigurations"),
        "customresourcedefinitions",
    )
)
