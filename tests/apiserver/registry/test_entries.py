"""Facts about every entry of the registry: what is served, and that nothing a client can send makes an entry crash."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.registry import all_resources, kind_for
from kubeloop.actors.apiserver.registry.catalog import Served
from kubeloop.actors.apiserver.registry.kind import Kind, StrategyContext
from kubeloop.runtime.clock import Clock


def parameters(served: Iterable[Served]) -> list[Any]:
    return [pytest.param(one, id=f"{one.resource.name}-{one.resource.version}") for one in served]


SERVED = parameters(all_resources())
WITH_STATUS = parameters(one for one in all_resources() if any(sub.name == "status" for sub in one.subresources))
STORED_SHAPE = {
    ("events.k8s.io", "v1", "events"): ("", "v1", "events"),
    ("autoscaling", "v1", "horizontalpodautoscalers"): ("autoscaling", "v2", "horizontalpodautoscalers"),
}


def entry_of(served: Served) -> Kind:
    kind = kind_for(served.resource.group, served.resource.version, served.resource.plural)
    assert kind is not None
    return kind


def stored_type(served: Served) -> Any:
    own = served.resource
    key = (own.group, own.version, own.plural)
    found = kind_for(*STORED_SHAPE.get(key, key))
    assert found is not None
    return found.resource.type


def context() -> StrategyContext:
    return StrategyContext(clock=Clock(seed=1), get=lambda *key: None, list=lambda *key: ())


def test_all_resources_of_kubernetes_1_36_are_served() -> None:
    assert len(all_resources()) == 68


def test_an_unknown_resource_has_no_entry() -> None:
    assert kind_for("", "v1", "unicorns") is None
    assert kind_for("apps", "v1beta1", "deployments") is None


@pytest.mark.parametrize("served", SERVED)
def test_subresources_are_listed_by_name_and_verbs_sorted(served: Served) -> None:
    names = [subresource.name for subresource in served.subresources]
    assert names == sorted(names)
    assert list(served.verbs) == sorted(served.verbs)


@pytest.mark.parametrize("served", SERVED)
def test_an_object_that_says_nothing_is_defaulted_and_judged_without_a_crash(served: Served) -> None:
    kind = entry_of(served)
    blank = stored_type(served)(
        metadata=ObjectMeta(name="a", namespace="default" if kind.resource.namespaced else None)
    )
    made = kind.default(blank)
    errors = list(kind.validate(made))
    assert all(error.field or error.type for error in errors)
    if kind.warnings is not None:
        assert all(isinstance(warning, str) for warning in kind.warnings(made))
    for column in kind.columns:
        column.cell(made, 0.0)


@pytest.mark.parametrize("served", SERVED)
def test_defaulting_twice_is_defaulting_once(served: Served) -> None:
    kind = entry_of(served)
    once = kind.default(stored_type(served)(metadata=ObjectMeta(name="a")))
    assert kind.default(once) is once or kind.default(once) == once


@pytest.mark.parametrize("served", WITH_STATUS)
def test_status_belongs_to_the_status_subresource(served: Served) -> None:
    kind = entry_of(served)
    old = kind.default(stored_type(served)(metadata=ObjectMeta(name="a", namespace="n")))
    assert kind.prepare_for_update is not None
    new = kind.prepare_for_update(replace(old, metadata=ObjectMeta(name="a", labels={"x": "y"})), old, context())
    assert new.status == old.status
    if kind.prepare_for_status_update is not None:
        sent = replace(new, metadata=ObjectMeta(name="a", labels={"l": "m"}))
        assert kind.prepare_for_status_update(sent, old, context()).spec == old.spec


@pytest.mark.parametrize("served", SERVED)
def test_what_an_entry_makes_is_json_that_it_reads_again(served: Served) -> None:
    kind, type_ = entry_of(served), stored_type(served)
    made = kind.default(type_(metadata=ObjectMeta(name="a")))
    assert msgspec.json.decode(msgspec.json.encode(made), type=type_) == made
