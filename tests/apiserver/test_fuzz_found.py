"""What the fuzzers found, each as a fact of its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kubeloop.actors.apiserver import go_yaml, http_warnings, limits
from kubeloop.actors.apiserver.http import HttpServer
from kubeloop.runtime.clock import format_rfc3339, format_rfc3339_micro
from tests.apiserver.conftest import Server
from tests.apiserver.fuzz_objects import CRD, WIDGET

DEFAULT = "/api/v1/namespaces/default"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
PATCHES = ("json-patch", "merge-patch", "strategic-merge-patch")


@pytest.fixture
async def session(server: Server, http: HttpServer) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": "Bearer secret"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http.port}", headers=headers) as session:
        yield session


async def ask(session: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str) -> Any:
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    data = None if body is None else json.dumps(body)
    async with session.request(method, path, data=data, headers=given) as answer:
        return answer.status, await answer.read(), answer.headers


@pytest.mark.parametrize("form", PATCHES)
@pytest.mark.parametrize(("field", "value"), [("apiVersion", "v2"), ("kind", "Secret"), ("kind", "Unheard")])
async def test_a_patch_makes_no_other_kind_of_an_object(
    session: aiohttp.ClientSession, form: str, field: str, value: str
) -> None:
    await ask(session, "POST", f"{DEFAULT}/configmaps", {"metadata": {"name": "a"}})
    patch: Any = {field: value}
    if form == "json-patch":
        patch = [{"op": "replace", "path": f"/{field}", "value": value}]
    path = f"{DEFAULT}/configmaps/a"
    code, body, _ = await ask(session, "PATCH", path, patch, Content_Type=f"application/{form}+json")
    assert code == (200 if form == "strategic-merge-patch" else 422)  # a strategic merge patch is of the kind's type
    if value == "v2" and code == 422:
        text = 'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"'
        assert json.loads(body)["details"]["causes"][0]["message"].endswith(text)
    found = json.loads((await ask(session, "GET", path))[1])
    assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")


@pytest.mark.parametrize("patch", [{"kind": 0}, {"apiVersion": 1}, {"apiVersion": None}, {"kind": None}])
async def test_a_patch_leaves_custom_resources_what_they_are(
    server: Server, session: aiohttp.ClientSession, patch: Any
) -> None:
    crd = {"metadata": {"name": "widgets.example.com"}, "spec": CRD}
    await server.call("create", "customresourcedefinitions", body=crd, namespace="")
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, **WIDGET}
    assert (await ask(session, "POST", WIDGETS, widget))[0] == 201
    code, _, _ = await ask(session, "PATCH", f"{WIDGETS}/w", patch, Content_Type="application/merge-patch+json")
    assert code == 422


async def test_nulls_that_go_writes_are_in_yaml_and_in_indented_json(session: aiohttp.ClientSession) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}}
    assert (await ask(session, "POST", f"{DEFAULT}/events", event))[0] == 201
    plain = json.loads((await ask(session, "GET", f"{DEFAULT}/events/e"))[1])
    assert plain["firstTimestamp"] is None
    assert json.loads((await ask(session, "GET", f"{DEFAULT}/events/e?pretty=true"))[1]) == plain
    in_yaml = (await ask(session, "GET", f"{DEFAULT}/events/e", Accept="application/yaml"))[1]
    assert b"firstTimestamp: null\n" in in_yaml


async def test_warnings_with_control_characters_are_not_told(session: aiohttp.ClientSession) -> None:
    body = {"metadata": {"name": "a"}, "un\x00heard": 1, "unheard": 2}
    code, _, headers = await ask(session, "POST", f"{DEFAULT}/configmaps", body)
    assert code == 201
    assert headers.getall("Warning") == ['299 - "unknown field \\"unheard\\""']


def test_many_warnings_are_cut() -> None:
    texts = [f"{number:02}" + "x" * 998 for number in range(40)]
    assert len(http_warnings.headers(texts[:4])[0]) > 1000
    found = http_warnings.headers(texts)
    assert {len(one) for one in found} == {limits.warning_characters_max + len('299 - ""')}
    assert len(found) == limits.warnings_characters_max // limits.warning_characters_max


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+02:00"])
async def test_times_that_no_rfc_3339_text_can_say_in_utc_are_refused(
    session: aiohttp.ClientSession, time: str
) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "firstTimestamp": time}
    code, body, _ = await ask(session, "POST", f"{DEFAULT}/events", event)
    assert code == 400 and b"year out of range" in body


def test_a_year_has_four_digits() -> None:
    assert format_rfc3339(-62135596800) == "0001-01-01T00:00:00Z"
    assert format_rfc3339_micro(-62135596800) == "0001-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0001-01-01T02:00:00+02:00"])
async def test_the_zero_of_go_is_no_time(session: aiohttp.ClientSession, time: str) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "firstTimestamp": time}
    code, body, _ = await ask(session, "POST", f"{DEFAULT}/events", event)
    assert code == 201 and json.loads(body)["firstTimestamp"] is None


YAML_TEXTS = (
    ("a: =", "="),
    ("a: !!binary aGk=", "hi"),
    ("a: !!timestamp 2026-01-01", "2026-01-01"),
    ("a: !!set {x}", {"x": None}),
    ("a: !!omap [x: 1]", [{"x": 1}]),
    ("a: 0x10000000000000000", 2.0**64),
    ('a: "\U0001f600"', "\U0001f600"),
)


@pytest.mark.parametrize(("text", "value"), YAML_TEXTS)
def test_yaml_that_json_has_no_form_for_is_read_as_go_reads_it(text: str, value: Any) -> None:
    assert go_yaml.load(text.encode())[0] == {"a": value}


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 9)
)
WRONG_YAML = (
    ('a: "\\ud83d\\ude00"', "invalid Unicode character escape code"),
    ("a: .nan", "json: unsupported value: NaN"),
    ("a: -.inf", "json: unsupported value: -Inf"),
    ("a: !!bool x", "yaml: "),
    ('a: !!int ""', "yaml: "),
    ("a: 0x" + "f" * 400, "yaml: "),
    ("a: &a [*a]", "yaml: "),
    (BOMB, "document contains excessive aliasing"),
)


@pytest.mark.parametrize(("text", "said"), WRONG_YAML, ids=[said for _, said in WRONG_YAML])
def test_yaml_that_is_none_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(go_yaml.YamlError, match=said):
        go_yaml.load(text.encode())


async def test_an_apply_in_json_with_escaped_surrogates_is_refused_as_by_go(session: aiohttp.ClientSession) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "\U0001f600"}}
    path = f"{DEFAULT}/configmaps/a?fieldManager=m"
    code, answer, _ = await ask(session, "PATCH", path, body, Content_Type="application/apply-patch+yaml")
    assert code == 400 and b"found invalid Unicode character escape code" in answer
