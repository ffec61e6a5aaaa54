"""Which fields Go keeps by value: their zero (0, false, "") means "not set", and is not written out again.

The schemas do not say it. Required fields are always written; texts drop "" unless listed; numbers and booleans keep
their zero unless listed. A name stands for every class that has such a field, CLASS.name for the classes of that name,
MODULE.CLASS.name for one class.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DROPPED_FALSE = _names(
    """
    paused hostIPC hostNetwork hostPID stdin stdinOnce tty readOnly unschedulable publishNotReadyAddresses
    chapAuthDiscovery chapAuthSession sslEnabled globalDefault authenticated denied deprecated exclusiveMaximum
    exclusiveMinimum nullable uniqueItems x-kubernetes-embedded-resource x-kubernetes-int-or-string
    insecureSkipTLSVerify clusterScope preserveUnknownFields
    """
)
KEPT_FALSE = _names("AzureDiskVolumeSource.readOnly CSIVolumeSource.readOnly")  # pointers among them
DROPPED_ZERO = _names(
    """
    minReadySeconds hostPort nodePort healthCheckNodePort initialDelaySeconds periodSeconds successThreshold
    failureThreshold observedGeneration generation code retryAfterSeconds sizeBytes signal deprecatedCount
    matchingPrecedence handSize queueLengthLimit queues numberAvailable numberUnavailable updatedNumberScheduled
    availableReplicas fullyLabeledReplicas readyReplicas unavailableReplicas updatedReplicas currentReplicas
    active failed succeeded Event.count EventSeries.count Probe.timeoutSeconds DeploymentStatus.replicas
    ScaleSpec.replicas AWSElasticBlockStoreVolumeSource.partition GCEPersistentDiskVolumeSource.partition
    ServiceBackendPort.number CustomResourceColumnDefinition.priority ExactDeviceRequest.count DeviceSubRequest.count
    """
)
KEPT_ZERO = _names("HorizontalPodAutoscalerStatus.observedGeneration")  # a pointer among them
KEPT_EMPTY = _names(
    """
    PersistentVolumeClaimSpec.storageClassName volumeAttributesClassName currentVolumeAttributesClassName
    ingressClassName loadBalancerClass appProtocol runtimeClassName EndpointAddress.nodeName
    discovery_v1.EndpointPort.name Endpoint.nodeName Endpoint.hostname Endpoint.zone GRPCAction.service
    DeviceAttribute.string DeviceAttribute.version LeaseSpec.holderIdentity
    """
)
