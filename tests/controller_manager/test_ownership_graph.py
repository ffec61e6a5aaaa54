"""Who owns whom, kept from what the caches show."""

from __future__ import annotations

from typing import Any

from kubeloop.actors.controller_manager.ownership_graph import Identity, OwnershipGraph

TABLE = {("v1", "Owner"): ("owners", True), ("v1", "Child"): ("children", True), ("v1", "Wide"): ("wides", False)}


def obj(
    name: str, *owners: str, finalizers: tuple[str, ...] = (), deleting: bool = False, kind: str = "Owner"
) -> dict[str, Any]:
    references = [
        {"apiVersion": "v1", "kind": kind, "name": each, "uid": f"uid-{each}", "blockOwnerDeletion": True}
        for each in owners
    ]
    metadata: dict[str, Any] = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "ownerReferences": references}
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"apiVersion": "v1", "kind": "X", "metadata": metadata}


class World:
    """A graph over caches that the test fills."""

    def __init__(self) -> None:
        self.cached: dict[tuple[str, str], Any] = {}
        self.graph = OwnershipGraph(lambda version, kind: TABLE.get((version, kind)), self.find)

    def find(self, identity: Identity) -> Any | None:
        return self.cached.get((identity.resource, identity.name))

    def show(self, resource: str, each: dict[str, Any]) -> list[str]:
        self.cached[(resource, each["metadata"]["name"])] = each
        return self.graph.observe(resource, each)


def test_objects_without_owners_are_not_kept() -> None:
    world = World()
    assert world.show("owners", obj("a")) == []
    assert world.graph.vertices == {}


def test_a_known_owner_needs_no_look_and_an_unknown_one_does() -> None:
    world = World()
    world.show("owners", obj("a"))
    assert world.show("children", obj("c", "a")) == []
    assert world.show("children", obj("d", "missing")) == ["uid-missing"]
    assert world.graph.vertices["uid-missing"].virtual


def test_an_owner_that_goes_brings_its_dependents_to_attention() -> None:
    world = World()
    world.show("owners", obj("a"))
    world.show("children", obj("c", "a"))
    world.show("children", obj("d", "a"))
    assert world.graph.remove("uid-a") == ["uid-c", "uid-d"]


def test_foreground_deletion_brings_the_owner_and_later_its_last_dependent() -> None:
    world = World()
    world.show("owners", obj("a"))
    world.show("children", obj("c", "a"))
    assert world.show("owners", obj("a", finalizers=("foregroundDeletion",), deleting=True)) == ["uid-a"]
    assert world.graph.vertices["uid-c"].blocks("uid-a")
    assert world.graph.remove("uid-c") == ["uid-a"]


def test_what_has_no_meaning_any_more_is_forgotten() -> None:
    world = World()
    world.show("owners", obj("a"))
    world.show("children", obj("c", "a"))
    world.graph.remove("uid-c")
    assert world.graph.vertices == {}


def test_a_reference_that_is_dropped_lets_the_owner_go() -> None:
    world = World()
    world.show("owners", obj("a"))
    world.show("children", obj("c", "a"))
    world.show("children", obj("c"))
    assert world.graph.vertices == {}


def test_references_to_unknown_kinds_have_no_resource() -> None:
    world = World()
    world.show("children", obj("c", "a", kind="Nobody"))
    assert world.graph.vertices["uid-c"].owners[0].identity.resource == ""
