"""Facts about Table answers."""

from typing import Any

import msgspec
import pytest

from kubeloop.actors.api.core_v1 import Namespace, NamespaceStatus
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver import table_path
from kubeloop.actors.apiserver.messages import ObjectListing
from kubeloop.actors.apiserver.table import table_of

NOW = 1767225600.0 + 90
NAMESPACE = Namespace(
    metadata=ObjectMeta(name="a", creation_timestamp="2026-01-01T00:00:00Z", resource_version="7"),
    status=NamespaceStatus(phase="Active"),
)
RESOURCE = ("", "v1", "namespaces")
WIDGET = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"size": 3, "list": ["x", "y"], "dotted": {"a.b": "c"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


def test_a_list_becomes_one_row_an_object_with_its_metadata() -> None:
    listing = ObjectListing(items=(NAMESPACE,), resource_version="9", continue_="c", remaining_item_count=4)
    table = table_of(RESOURCE, listing, NOW)
    assert table["metadata"] == {"resourceVersion": "9", "continue": "c", "remainingItemCount": 4}
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Status", "Age"]
    (row,) = table["rows"]
    assert row["cells"] == ["a", "Active", "90s"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "a"


def test_include_object_decides_what_a_row_carries() -> None:
    assert table_of(RESOURCE, NAMESPACE, NOW, include_object="None")["rows"][0]["object"] is None
    assert table_of(RESOURCE, NAMESPACE, NOW, include_object="Object")["rows"][0]["object"] == msgspec.to_builtins(
        NAMESPACE
    )
    assert table_of(RESOURCE, NAMESPACE, NOW)["metadata"] == {"resourceVersion": "7"}


def test_a_custom_resource_shows_name_and_age_or_its_own_columns() -> None:
    resource = ("example.com", "v1", "widgets")
    assert table_of(resource, WIDGET, NOW)["rows"][0]["cells"] == ["w", "90s"]
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.absent"},
    ]
    table = table_of(resource, WIDGET, NOW, printer_columns=columns)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Ready", "Since", "Missing"]
    assert table["rows"][0]["cells"] == ["w", 3, "True", "90s", None]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        ("{.spec.size}"[1:-1], [3]),
        (".spec.list[0]", ["x"]),
        (".spec.list[-1]", ["y"]),
        (".spec.list[*]", ["x", "y"]),
        (r".spec.dotted.a\.b", ["c"]),
        (".spec.dotted['a.b']", ["c"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (".spec.list[9]", []),
        (".spec[", []),
    ],
)
def test_printer_columns_find_what_their_path_says(path: str, found: list[Any]) -> None:
    assert table_path.find(path, WIDGET) == found
