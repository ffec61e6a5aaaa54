from pathlib import Path

import pytest

import kubeloop.actors.api as api
from kubeloop.actors.api import generate


def test_the_generated_modules_are_what_the_generator_writes() -> None:
    pytest.importorskip("kubernetes_validate", reason="the development package kubernetes-validate is not installed")
    folder = Path(api.__path__[0])
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*_v[0-9].py")}
    assert written == generate.modules()


@pytest.mark.parametrize(
    ("json_name", "attribute"),
    [
        ("clusterIP", "cluster_ip"),
        ("podIPs", "pod_ips"),
        ("hostPID", "host_pid"),
        ("apiVersion", "api_version"),
        ("podCIDRs", "pod_cidrs"),
        ("continue", "continue_"),
        ("from", "from_"),
        ("default", "default"),
        ("bool", "bool_"),
        ("insecureSkipTLSVerify", "insecure_skip_tls_verify"),
        ("setHostnameAsFQDN", "set_hostname_as_fqdn"),
        ("nonResourceURLs", "non_resource_urls"),
        ("openAPIV3Schema", "open_api_v3_schema"),
        ("x-kubernetes-int-or-string", "x_kubernetes_int_or_string"),
        ("$ref", "ref"),
    ],
)
def test_attributes_are_the_json_names_in_snake_case(json_name: str, attribute: str) -> None:
    assert generate.snake_case(json_name) == attribute
