"""Hashes of pod templates as kube-controller-manager makes them: two are recorded from a real cluster."""

from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.api.apps_v1 import StatefulSet
from kubeloop.actors.api.core_v1 import PodTemplateSpec
from kubeloop.actors.apiserver.protobuf_numbers import NUMBERS
from kubeloop.actors.controller_manager.controller_revision import hash_of, revision_name
from kubeloop.actors.controller_manager.go_printing import printed
from kubeloop.actors.controller_manager.go_types import TYPES
from kubeloop.actors.controller_manager.rollout_revisions import template_hash


def template(app: str) -> dict[str, Any]:
    container = {
        "image": "nginx",
        "imagePullPolicy": "Always",
        "name": "c",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    spec = {
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    return {"metadata": {"labels": {"app": app}}, "spec": spec}


def test_deployment_names_its_replica_set_as_a_real_cluster_does() -> None:
    found = codec.convert(template("a"), PodTemplateSpec)
    assert template_hash(found, None) == "75cc9948db"
    assert template_hash(found, 1) not in ("75cc9948db", template_hash(found, 2))
    assert template_hash(found, None) == "75cc9948db"


def test_stateful_set_names_its_revision_as_a_real_cluster_does() -> None:
    spec = {"selector": {"matchLabels": {"app": "s"}}, "serviceName": "svc", "template": template("s")}
    owner = codec.convert({"metadata": {"name": "s", "namespace": "n"}, "spec": spec, "status": {}}, StatefulSet)
    assert revision_name(owner) == "s-5d46bb5569"
    assert hash_of("s-5d46bb5569", owner) == "5d46bb5569"


AMOUNT = "i:(resource.int64Amount){{value:(int64){} scale:(resource.Scale){}}}"
REST = "d:(resource.infDecAmount){{Dec:(*inf.Dec)<nil>}} s:(string){} Format:(resource.Format){}"


@pytest.mark.parametrize(
    ("text", "value", "scale", "kept", "format_"),
    [
        ("0", 0, 0, "0", "DecimalSI"),
        ("100m", 100, -3, "100m", "DecimalSI"),
        ("2", 2, 0, "2", "DecimalSI"),
        ("1k", 1, 3, "1k", "DecimalSI"),
        ("1e3", 1, 3, "1e3", "DecimalExponent"),
        ("-5", -5, 0, "-5", "DecimalSI"),
        ("129Mi", 129 << 20, 0, "129Mi", "BinarySI"),
        ("128Mi", 128 << 20, 0, "", "BinarySI"),  # a multiple of eight: Go does not look whether it is canonical
    ],
)
def test_quantities_are_printed_as_go_holds_them(text: str, value: int, scale: int, kept: str, format_: str) -> None:
    wanted = f"(resource.Quantity){{{AMOUNT.format(value, scale)} {REST.format(kept, format_)}}}"
    assert printed(text, "resource.Quantity") == wanted


def test_a_quantity_too_big_for_a_quick_look_is_a_decimal() -> None:
    shown = printed("100Ti", "resource.Quantity")
    whole = (100 << 40) * 10**9
    words = f"{whole & (1 << 64) - 1} {whole >> 64}"
    number = f"unscaled:(big.Int){{neg:(bool)false abs:(big.nat)[{words}]}} scale:(inf.Scale)9"
    assert f"d:(resource.infDecAmount){{Dec:(*inf.Dec){{{number}}}}} s:(string) " in shown


@pytest.mark.parametrize(
    ("value", "type_", "shown"),
    [
        ({"name": "v", "emptyDir": {}}, "v1.Volume", "EmptyDir:(*v1.EmptyDirVolumeSource){Medium:(v1.StorageMedium) "),
        ({"tcpSocket": {"port": "web"}}, "v1.Probe", "Port:(intstr.IntOrString){Type:(intstr.Type)1 IntVal:(int32)0 "),
        ({"httpGet": {"port": 80}}, "v1.Probe", "Type:(intstr.Type)0 IntVal:(int32)80 StrVal:(string)} Host:(string) "),
        ({"key": "k", "name": "m"}, "v1.ConfigMapKeySelector", "{Name:(string)m} Key:(string)k Optional:(*bool)<nil>}"),
        ({"serviceAccount": "x"}, "v1.PodSpec", "DeprecatedServiceAccount:(string)x "),
        ({"overhead": {"cpu": "1"}}, "v1.PodSpec", "Overhead:(v1.ResourceList)map[cpu:{i:(resource.int64Amount){"),
        ({"operator": "In", "values": [1, 2]}, "v1.ContainerRestartRuleOnExitCodes", "Values:([]int32)[1 2]}"),
    ],
)
def test_fields_are_printed_where_go_has_them(value: Any, type_: str, shown: str) -> None:
    assert shown in printed(value, type_)


def test_every_field_of_a_pod_template_is_known() -> None:
    """What the wire format has, Go's structs have."""
    for key, numbers in NUMBERS.items():
        group, _, name = key.rsplit(".", 2)
        if group != "core" or f"v1.{name}" not in TYPES:
            continue
        members = [member.partition(":")[0].partition("/") for member in TYPES[f"v1.{name}"].split()]
        known = {json if slash else f"{go[0].lower()}{go[1:]}" for go, slash, json in members}
        wanted = {"" if number[0] == "+" else number for number in numbers.split() if number != "-"}
        assert known == wanted, key
