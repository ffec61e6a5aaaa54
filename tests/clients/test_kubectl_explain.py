"""kubectl asks the server what there is: explain for every kind and field, api-resources, api-versions, raw paths."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kubeloop.actors.apiserver.registry import all_resources
from kubeloop.actors.apiserver.registry.catalog import Served
from tests.clients.conftest import Kubectl

pytestmark = pytest.mark.kubeloop(nodes=0)

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wg], categories: [all]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          description: A widget of the factory.
          properties:
            spec:
              type: object
              description: What is wanted.
              required: [size]
              properties:
                size: {type: integer, format: int32, description: How large it is.}
                colour: {type: string, enum: [red, blue], description: One of two.}
                parts:
                  type: array
                  description: What it consists of.
                  items:
                    type: object
                    properties:
                      name: {type: string, description: The part's name.}
"""


def group_version(row: Served) -> str:
    own = row.resource
    return f"{own.group}/{own.version}" if own.group else own.version


def fields(type_: Any) -> Iterator[str]:
    """The names on the wire of a kind's own fields."""
    yield from type_.__struct_encode_fields__


def test_every_kind_is_explained_with_all_its_fields(kubectl: Kubectl) -> None:
    def explain(row: Served) -> str:
        return kubectl("explain", row.resource.plural, f"--api-version={group_version(row)}", "--recursive")

    with ThreadPoolExecutor(4) as pool:
        said = dict(zip(all_resources(), pool.map(explain, all_resources()), strict=True))
    for row, text in said.items():
        own = row.resource
        lines = [line.split("\t")[0] for line in text.splitlines()]
        assert f"KIND:       {own.kind}" in text and f"VERSION:    {own.version}" in text, own.name
        assert "<empty>" not in text, f"{own.name} has no description"
        missing = [name for name in fields(own.type) if f"  {name}" not in lines]
        assert not missing, f"{own.name}: {missing}"
    pod = said[next(row for row in all_resources() if row.resource.name == "pods")]
    for name in ("terminationGracePeriodSeconds", "livenessProbe", "topologySpreadConstraints", "fsGroup", "hostIP"):
        assert f"{name}\t<" in pod
    assert "imagePullPolicy\t<string>" in pod and "containers\t<[]Container> -required-" in pod


def test_fields_that_all_objects_have_are_described(kubectl: Kubectl) -> None:
    said = kubectl("explain", "deployments")
    assert "<no description>" not in said and "What is wanted." in said
    metadata = kubectl("explain", "deployments.metadata")
    assert "<no description>" not in metadata and "<empty>" not in metadata
    assert "One program of a pod" in kubectl("explain", "pods.spec.containers")


def test_a_custom_resource_is_explained_in_the_words_of_its_schema(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    whole = kubectl("explain", "widgets")
    assert "GROUP:      example.com" in whole and "A widget of the factory." in whole and "What is wanted." in whole
    spec = kubectl("explain", "wg.spec")
    assert "size\t<integer> -required-" in spec and "How large it is." in spec
    assert "enum: red, blue" in spec
    assert "The part's name." in kubectl("explain", "widgets.spec.parts.name")
    assert "name\t<string>" in kubectl("explain", "widgets", "--recursive")
    assert "metadata\t<ObjectMeta>" in whole and "apiVersion\t<string>" in whole
    assert 'field "nothing" does not exist' in kubectl("explain", "widgets.spec.nothing", fails=True)


def test_resources_and_versions_are_listed(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    words = set(kubectl("api-resources", "--no-headers").split())
    assert {row.resource.kind for row in all_resources()} | {"Widget", "wg"} <= words
    assert {name for row in all_resources() for name in (",".join(row.resource.short_names),) if name} <= words
    names = kubectl("api-resources", "-o", "name").split()
    for row in all_resources():
        own = row.resource
        assert (f"{own.plural}.{own.group}" if own.group else own.plural) in names
    assert "widgets.example.com" in names
    versions = kubectl("api-versions").split()
    assert {group_version(row) for row in all_resources()} | {"example.com/v1"} == set(versions)
    assert "widgets" in kubectl("api-resources", "--categories=all")
    assert "widgets" not in kubectl("api-resources", "--namespaced=false")


def test_raw_paths_are_answered(kubectl: Kubectl) -> None:
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert kubectl("get", "--raw", "/livez/etcd") == "ok"
    assert "[+]etcd ok\n" in kubectl("get", "--raw", "/livez?verbose")
    assert json.loads(kubectl("get", "--raw", "/api/v1/namespaces/default"))["metadata"]["name"] == "default"
    assert 'apiserver_request_total{code="200",component="apiserver"' in kubectl("get", "--raw", "/metrics")
    assert json.loads(kubectl("get", "--raw", "/version"))["gitVersion"].startswith("v1.36")
    assert "/apis/apps/v1" in json.loads(kubectl("get", "--raw", "/"))["paths"]
    assert "NotFound" in kubectl("get", "--raw", "/apis/apps/v1/nothings", fails=True)
    assert "etcd-0" in kubectl("get", "componentstatuses")
    assert "is running at https://" in kubectl("cluster-info")
