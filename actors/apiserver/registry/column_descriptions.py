"""What a Table answer says of its columns: for most of them, what the API reference says of the field that is shown.

Which field that is, is known here; the reference's words are not kubeloop's. They are looked up in the published JSON
schemas where the package kubernetes-validate is installed (`pip install 'kubeloop[explain]'`), file by file; without it
a column is described by the name of its field. A text with a blank that names no field is a server's own.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SCHEMA_FOLDER = "kubernetes-json-schema/v1.36.0-local"

NAME, AGE = "meta/v1 ObjectMeta.name", "meta/v1 ObjectMeta.creationTimestamp"
CONTAINERS = "Names of each container in the template."
IMAGES = "Images referenced by each container in the template."
_HPA, _HPA_STATUS = "autoscaling/v2 HorizontalPodAutoscalerSpec", "autoscaling/v2 HorizontalPodAutoscalerStatus"
_DAEMONS, _NODE = "apps/v1 DaemonSetStatus", "core/v1 NodeSystemInfo"
_ADMISSION = "admissionregistration/v1"
_BINDING = {
    "Users": "Users in the roleBinding",
    "Groups": "Groups in the roleBinding",
    "ServiceAccounts": "ServiceAccounts in the roleBinding",
}
_EVENT = {
    "Last Seen": "core/v1 Event.lastTimestamp",
    "Type": "core/v1 Event.type",
    "Reason": "core/v1 Event.reason",
    "Object": "core/v1 Event.involvedObject",
    "Subobject": "core/v1 ObjectReference.fieldPath",
    "Source": "core/v1 Event.source",
    "Message": "core/v1 Event.message",
    "First Seen": "core/v1 Event.firstTimestamp",
    "Count": "core/v1 Event.count",
}
# "plural.group" -> column -> the field that it shows; Name, Age, Created At, Containers and Images are alike everywhere
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "apiservices.apiregistration.k8s.io": {
        "Service": "The reference to the service that hosts this API endpoint.",
        "Available": "Whether this service is available.",
    },
    "certificatesigningrequests.certificates.k8s.io": {
        "SignerName": "certificates/v1 CertificateSigningRequestSpec.signerName",
        "Requestor": "certificates/v1 CertificateSigningRequestSpec.request",
        "RequestedDuration": "certificates/v1 CertificateSigningRequestSpec.expirationSeconds",
        "Condition": "certificates/v1 CertificateSigningRequestStatus.conditions",
    },
    "clusterrolebindings.rbac.authorization.k8s.io": {
        **_BINDING,
        "Role": (
            "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the "
            "Authorizer must return an error."
        ),
    },
    "componentstatuses": {
        "Status": "Status of the component conditions",
        "Message": "Message of the component conditions",
        "Error": "Error of the component conditions",
    },
    "configmaps": {"Data": "core/v1 ConfigMap.data"},
    "controllerrevisions.apps": {
        "Controller": "Controller of the object",
        "Revision": "apps/v1 ControllerRevision.revision",
    },
    "cronjobs.batch": {
        "Schedule": "batch/v1 CronJobSpec.schedule",
        "Timezone": "batch/v1 CronJobSpec.timeZone",
        "Suspend": "batch/v1 CronJobSpec.suspend",
        "Active": "batch/v1 CronJobStatus.active",
        "Last Schedule": "batch/v1 CronJobStatus.lastScheduleTime",
        "Selector": "batch/v1 JobSpec.selector",
    },
    "csidrivers.storage.k8s.io": {
        "AttachRequired": "storage/v1 CSIDriverSpec.attachRequired",
        "PodInfoOnMount": "storage/v1 CSIDriverSpec.podInfoOnMount",
        "StorageCapacity": "storage/v1 CSIDriverSpec.storageCapacity",
        "TokenRequests": "storage/v1 CSIDriverSpec.tokenRequests",
        "RequiresRepublish": "storage/v1 CSIDriverSpec.requiresRepublish",
        "Modes": "storage/v1 CSIDriverSpec.volumeLifecycleModes",
    },
    "csinodes.storage.k8s.io": {"Drivers": "Drivers indicates the number of CSI drivers registered on the node"},
    "daemonsets.apps": {
        "Desired": f"{_DAEMONS}.desiredNumberScheduled",
        "Current": f"{_DAEMONS}.currentNumberScheduled",
        "Ready": f"{_DAEMONS}.numberReady",
        "Up-to-date": f"{_DAEMONS}.updatedNumberScheduled",
        "Available": f"{_DAEMONS}.numberAvailable",
        "Node Selector": "core/v1 PodSpec.nodeSelector",
        "Selector": "apps/v1 DaemonSetSpec.selector",
    },
    "deployments.apps": {
        "Ready": "Number of the pod with ready state",
        "Up-to-date": "apps/v1 DeploymentStatus.updatedReplicas",
        "Available": "apps/v1 DeploymentStatus.availableReplicas",
        "Selector": "apps/v1 DeploymentSpec.selector",
    },
    "endpoints": {"Endpoints": "core/v1 Endpoints.subsets"},
    "endpointslices.discovery.k8s.io": {
        "AddressType": "discovery/v1 EndpointSlice.addressType",
        "Ports": "discovery/v1 EndpointSlice.ports",
        "Endpoints": "discovery/v1 EndpointSlice.endpoints",
    },
    "events": _EVENT,
    "events.events.k8s.io": _EVENT,
    "flowschemas.flowcontrol.apiserver.k8s.io": {
        "PriorityLevel": "flowcontrol/v1 PriorityLevelConfigurationReference.name",
        "MatchingPrecedence": "flowcontrol/v1 FlowSchemaSpec.matchingPrecedence",
        "DistinguisherMethod": "flowcontrol/v1 FlowSchemaSpec.distinguisherMethod",
        "MissingPL": "references a broken or non-existent PriorityLevelConfiguration",
    },
    "horizontalpodautoscalers.autoscaling": {
        "Reference": f"{_HPA}.scaleTargetRef",
        "Targets": f"{_HPA}.metrics",
        "MinPods": f"{_HPA}.minReplicas",
        "MaxPods": f"{_HPA}.maxReplicas",
        "Replicas": f"{_HPA_STATUS}.currentReplicas",
    },
    "ingressclasses.networking.k8s.io": {
        "Controller": "Controller that is responsible for handling this class",
        "Parameters": "A reference to a resource with additional parameters",
    },
    "ingresses.networking.k8s.io": {
        "Class": "The name of the IngressClass resource that should be used for additional configuration",
        "Hosts": "Hosts that incoming requests are matched against before the ingress rule",
        "Address": "Address is a list containing ingress points for the load-balancer",
        "Ports": "Ports of TLS configurations that open",
    },
    "ipaddresses.networking.k8s.io": {"ParentRef": "networking/v1 IPAddressSpec.parentRef"},
    "jobs.batch": {
        "Status": "Status of the job.",
        "Completions": "batch/v1 JobStatus.succeeded",
        "Duration": "Time required to complete the job.",
        "Selector": "batch/v1 JobSpec.selector",
    },
    "leases.coordination.k8s.io": {"Holder": "coordination/v1 LeaseSpec.holderIdentity"},
    "mutatingadmissionpolicies.admissionregistration.k8s.io": {
        "Mutations": "Mutations indicates the number of mutations rules defined in this configuration",
        "ParamKind": "ParamKind specifies the kind of resources used to parameterize this policy",
    },
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": {
        "PolicyName": "PolicyName indicates the policy definition which the policy binding binded to",
        "ParamRef": "ParamRef indicates the param resource which sets the configration param",
    },
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": {
        "Webhooks": "Webhooks indicates the number of webhooks registered in this configuration",
    },
    "namespaces": {"Status": "The status of the namespace"},
    "networkpolicies.networking.k8s.io": {"Pod-Selector": "networking/v1 NetworkPolicySpec.podSelector"},
    "nodes": {
        "Status": "The status of the node",
        "Roles": "The roles of the node",
        "Version": f"{_NODE}.kubeletVersion",
        "Internal-IP": "core/v1 NodeStatus.addresses",
        "External-IP": "core/v1 NodeStatus.addresses",
        "OS-Image": f"{_NODE}.osImage",
        "Kernel-Version": f"{_NODE}.kernelVersion",
        "Container-Runtime": f"{_NODE}.containerRuntimeVersion",
    },
    "persistentvolumeclaims": {
        "Status": "core/v1 PersistentVolumeClaimStatus.phase",
        "Volume": "core/v1 PersistentVolumeClaimSpec.volumeName",
        "Capacity": "core/v1 PersistentVolumeClaimStatus.capacity",
        "Access Modes": "core/v1 PersistentVolumeClaimStatus.accessModes",
        "StorageClass": "StorageClass of the pvc",
        "VolumeAttributesClass": "VolumeAttributesClass of the pvc",
        "VolumeMode": "core/v1 PersistentVolumeClaimSpec.volumeMode",
    },
    "persistentvolumes": {
        "Capacity": "core/v1 PersistentVolumeSpec.capacity",
        "Access Modes": "core/v1 PersistentVolumeSpec.accessModes",
        "Reclaim Policy": "core/v1 PersistentVolumeSpec.persistentVolumeReclaimPolicy",
        "Status": "core/v1 PersistentVolumeStatus.phase",
        "Claim": "core/v1 PersistentVolumeSpec.claimRef",
        "StorageClass": "StorageClass of the pv",
        "VolumeAttributesClass": "VolumeAttributesClass of the pv",
        "Reason": "core/v1 PersistentVolumeStatus.reason",
        "VolumeMode": "core/v1 PersistentVolumeSpec.volumeMode",
    },
    "poddisruptionbudgets.policy": {
        "Min Available": "The minimum number of pods that must be available.",
        "Max Unavailable": "The maximum number of pods that may be unavailable.",
        "Allowed Disruptions": "Calculated number of pods that may be disrupted at this time.",
    },
    "pods": {
        "Ready": "The aggregate readiness state of this pod for accepting traffic.",
        "Status": "The aggregate status of the containers in this pod.",
        "Restarts": (
            "The number of times the containers in this pod have been restarted and when the last container in this "
            "pod has restarted."
        ),
        "IP": "core/v1 PodStatus.podIP",
        "Node": "core/v1 PodSpec.nodeName",
        "Nominated Node": "core/v1 PodStatus.nominatedNodeName",
        "Readiness Gates": "core/v1 PodSpec.readinessGates",
    },
    "podtemplates": {"Pod Labels": "The labels for the pod template."},
    "priorityclasses.scheduling.k8s.io": {
        "Value": "scheduling/v1 PriorityClass.value",
        "Global-Default": "scheduling/v1 PriorityClass.globalDefault",
        "PreemptionPolicy": "scheduling/v1 PriorityClass.preemptionPolicy",
    },
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {
        "Type": "flowcontrol/v1 PriorityLevelConfigurationSpec.type",
        "NominalConcurrencyShares": "flowcontrol/v1 LimitedPriorityLevelConfiguration.nominalConcurrencyShares",
        "Queues": "flowcontrol/v1 QueuingConfiguration.queues",
        "HandSize": "flowcontrol/v1 QueuingConfiguration.handSize",
        "QueueLengthLimit": "flowcontrol/v1 QueuingConfiguration.queueLengthLimit",
    },
    "replicasets.apps": {
        "Desired": "apps/v1 ReplicaSetSpec.replicas",
        "Current": "apps/v1 ReplicaSetStatus.replicas",
        "Ready": "apps/v1 ReplicaSetStatus.readyReplicas",
        "Selector": "apps/v1 ReplicaSetSpec.selector",
    },
    "replicationcontrollers": {
        "Desired": "core/v1 ReplicationControllerSpec.replicas",
        "Current": "core/v1 ReplicationControllerStatus.replicas",
        "Ready": "core/v1 ReplicationControllerStatus.readyReplicas",
        "Selector": "core/v1 ReplicationControllerSpec.selector",
    },
    "resourceclaims.resource.k8s.io": {"State": "A summary of the current state (allocated, pending, reserved, etc.)."},
    "resourcequotas": {
        "Request": "Request represents a minimum amount of cpu/memory that a container may consume.",
        "Limit": (
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the "
            "node."
        ),
    },
    "resourceslices.resource.k8s.io": {
        "Node": "resource/v1 ResourceSliceSpec.nodeName",
        "Driver": "resource/v1 ResourceSliceSpec.driver",
        "Pool": "resource/v1 ResourcePool.name",
    },
    "rolebindings.rbac.authorization.k8s.io": {
        **_BINDING,
        "Role": (
            "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the "
            "RoleRef cannot be resolved, the Authorizer must return an error."
        ),
    },
    "runtimeclasses.node.k8s.io": {"Handler": "node/v1 RuntimeClass.handler"},
    "secrets": {"Type": "core/v1 Secret.type", "Data": "core/v1 Secret.data"},
    "servicecidrs.networking.k8s.io": {"CIDRs": "networking/v1 ServiceCIDRSpec.cidrs"},
    "services": {
        "Type": "core/v1 ServiceSpec.type",
        "Cluster-IP": "core/v1 ServiceSpec.clusterIP",
        "External-IP": "core/v1 ServiceSpec.externalIPs",
        "Port(s)": "core/v1 ServiceSpec.ports",
        "Selector": "core/v1 ServiceSpec.selector",
    },
    "statefulsets.apps": {"Ready": "Number of the pod with ready state"},
    "storageclasses.storage.k8s.io": {
        "Provisioner": "storage/v1 StorageClass.provisioner",
        "ReclaimPolicy": "storage/v1 StorageClass.reclaimPolicy",
        "VolumeBindingMode": "storage/v1 StorageClass.volumeBindingMode",
        "AllowVolumeExpansion": "storage/v1 StorageClass.allowVolumeExpansion",
    },
    "validatingadmissionpolicies.admissionregistration.k8s.io": {
        "Validations": "Validations indicates the number of validation rules defined in this configuration",
        "ParamKind": "ParamKind specifies the kind of resources used to parameterize this policy",
    },
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": {
        "PolicyName": "PolicyName indicates the policy definition which the policy binding binded to",
        "ParamRef": "ParamRef indicates the param resource which sets the configration param",
    },
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {
        "Webhooks": "Webhooks indicates the number of webhooks registered in this configuration",
    },
    "volumeattachments.storage.k8s.io": {
        "Attacher": "storage/v1 VolumeAttachmentSpec.attacher",
        "PV": "storage/v1 VolumeAttachmentSource.persistentVolumeName",
        "Node": "storage/v1 VolumeAttachmentSpec.nodeName",
        "Attached": "storage/v1 VolumeAttachmentStatus.attached",
    },
    "volumeattributesclasses.storage.k8s.io": {"DriverName": "storage/v1 VolumeAttributesClass.driverName"},
}
COMMON = {"Name": NAME, "Age": AGE, "Created At": AGE, "Containers": CONTAINERS, "Images": IMAGES}
_REFERENCE = re.compile(r"(\w+)/(\w+) (\w+)\.(\w+)\Z")


@lru_cache
def description(resource: str, column: str) -> str:
    """Of a column of `plural.group`; "" for one that nothing is known of."""
    reference = COLUMNS.get(resource, {}).get(column) or COMMON.get(column, "")
    found = _REFERENCE.match(reference)
    if found is None:
        return reference
    group, version, kind, field = found.groups()
    text = schema(group, version, kind).get("properties", {}).get(field, {}).get("description")
    if text is None:
        return f"{kind}.{field} of {group}/{version}"
    return re.sub(r"\s*\n\s*", lambda gap: "\n\n" if gap.group().count("\n") > 1 else " ", text)


@lru_cache
def schema(group: str, version: str, kind: str) -> Mapping[str, Any]:
    """A kind's published schema; empty where the package is not installed."""
    package = find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        return {}
    name = f"{kind}-{version}" if group == "core" else f"{kind}-{group}-{version}"
    try:
        found: Mapping[str, Any] = json.loads(
            (Path(package.origin).parent / SCHEMA_FOLDER / f"{name.lower()}.json").read_bytes()
        )
    except OSError:  # another release of the package
        return {}
    return found
