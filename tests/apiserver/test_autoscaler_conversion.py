"""autoscaling/v1 shows what autoscaling/v2 has, in annotations; nothing is lost on the way there and back."""

import json
from typing import Any

from kubeloop.actors.api import codec
from kubeloop.actors.api.autoscaling_v1 import HorizontalPodAutoscaler as V1
from kubeloop.actors.api.autoscaling_v2 import HorizontalPodAutoscaler as V2
from kubeloop.actors.apiserver.autoscaler_conversion import (
    BEHAVIOR,
    CONDITIONS,
    CURRENT_METRICS,
    METRICS,
    autoscaler_from_v2,
    autoscaler_to_v2,
)

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
RICH: dict[str, Any] = {
    "metadata": {"name": "rich", "annotations": {"own": "kept"}},
    "spec": {
        "scaleTargetRef": TARGET,
        "maxReplicas": 10,
        "metrics": [
            CPU,
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
            },
            {
                "type": "Object",
                "object": {
                    "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
                    "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "Value", "value": "2k"},
                },
            },
            {
                "type": "Pods",
                "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "100"}},
            },
        ],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Min",
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
            }
        },
    },
    "status": {
        "desiredReplicas": 2,
        "currentReplicas": 1,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}


def shown(document: dict[str, Any]) -> Any:
    return autoscaler_from_v2(codec.convert(document, V2))


def test_v1_has_a_percentage_and_everything_else_in_annotations() -> None:
    v1 = shown(RICH)
    assert v1.spec.target_cpu_utilization_percentage == 50
    assert v1.status.current_cpu_utilization_percentage == 7
    annotations = v1.metadata.annotations
    assert annotations["own"] == "kept"
    assert json.loads(annotations[METRICS]) == [
        {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}},
        {
            "type": "Object",
            "object": {
                "target": {"kind": "Service", "name": "s", "apiVersion": "v1"},
                "metricName": "hits",
                "targetValue": "2k",
                "selector": {"matchLabels": {"a": "b"}},
            },
        },
        {"type": "Pods", "pods": {"metricName": "rps", "targetAverageValue": "100"}},
    ]
    assert json.loads(annotations[CURRENT_METRICS])[0]["resource"] == {"name": "cpu", "currentAverageUtilization": 7}
    assert json.loads(annotations[CONDITIONS]) == [{"type": "AbleToScale", "status": "True"}]
    assert json.loads(annotations[BEHAVIOR])["ScaleUp"]["Policies"] == [
        {"Type": "Pods", "Value": 2, "PeriodSeconds": 15}
    ]


def test_what_was_read_as_v1_and_is_written_back_is_what_it_was() -> None:
    assert autoscaler_to_v2(shown(RICH)) == codec.convert(RICH, V2)


def test_v1_without_a_percentage_asks_for_80_percent_of_cpu() -> None:
    v2 = autoscaler_to_v2(codec.convert({"spec": {"scaleTargetRef": TARGET, "maxReplicas": 1}}, V1))
    assert v2.spec.metrics[0].resource.target.average_utilization == 80


def test_annotations_that_cannot_be_read_say_nothing() -> None:
    for text in ("{", "7", "null", '[7, {"type": 1}]', '{"ScaleUp": 7}'):
        annotations = {METRICS: text, CURRENT_METRICS: text, CONDITIONS: text, BEHAVIOR: text}
        v1 = codec.convert({"metadata": {"annotations": annotations}, "spec": {"maxReplicas": 1}}, V1)
        v2 = autoscaler_to_v2(v1)
        assert (len(v2.spec.metrics), v2.spec.behavior, v2.metadata.annotations) == (1, None, {})
