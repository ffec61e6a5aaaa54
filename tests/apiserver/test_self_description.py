"""What a server says of itself over HTTP: health, metrics, documents that are sent once."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubeloop.actors.apiserver import health, limits
from kubeloop.actors.apiserver.http import HttpServer
from tests.apiserver.test_http import CONFIG_MAPS, Http

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
DOCUMENTS = (
    "/api",
    "/apis",
    "/api/v1",
    "/apis/apps",
    "/apis/apps/v1",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/api/v1",
)
HOOKS = "".join(f"[+]{name} ok\n" for name in health.START_HOOKS)
Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture
async def ask(http: HttpServer) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session, f"http://127.0.0.1:{http.port}")


async def scrape(ask: Http, path: str = "/metrics") -> Samples:
    """Sample name -> sorted labels -> value."""
    code, text, response = await ask("GET", path)
    assert code == 200 and response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """Of the samples that have these labels, the sum. Fails where there are none."""
    found = [number for known, number in samples[name].items() if labels.items() <= dict(known).items()]
    assert found, f"{name}{labels} is not among {list(samples[name])[:5]}"
    return sum(found)


async def test_requests_are_counted_as_kube_apiserver_does(ask: Http) -> None:
    made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    assert made[0] == 201
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    await ask("PATCH", f"{CONFIG_MAPS}/a?fieldManager=me", body, Content_Type="application/apply-patch+yaml")
    await ask("PUT", f"{CONFIG_MAPS}/a?dryRun=All", body)
    for path in ("/a", "/a", "/b", "?limit=1"):
        await ask("GET", CONFIG_MAPS + path)
    await ask("GET", "/api/v1/configmaps")
    await ask("DELETE", CONFIG_MAPS)
    samples = await scrape(ask)
    common = {"group": "", "version": "v1", "resource": "configmaps", "subresource": "", "component": "apiserver"}
    for count, labels in (
        (1, {"verb": "POST", "scope": "resource", "code": "201", "dry_run": ""}),
        (1, {"verb": "APPLY", "scope": "resource", "code": "200"}),
        (1, {"verb": "PUT", "dry_run": "All"}),
        (2, {"verb": "GET", "scope": "resource", "code": "200"}),
        (1, {"verb": "GET", "scope": "resource", "code": "404"}),
        (1, {"verb": "LIST", "scope": "namespace"}),
        (1, {"verb": "LIST", "scope": "cluster"}),
        (1, {"verb": "DELETECOLLECTION", "scope": "namespace"}),
    ):
        assert value(samples, "apiserver_request_total", **common, **labels) == count, labels
    read = {**common, "verb": "GET"}
    assert value(samples, "apiserver_request_duration_seconds_count", **read) == 3
    assert value(samples, "apiserver_response_sizes_sum", **read, scope="resource") > 100
    assert not [known for known in samples["apiserver_response_sizes_count"] if ("verb", "POST") in known]
    assert value(samples, "apiserver_current_inflight_requests", request_kind="mutating") == 1


async def test_what_is_not_served_makes_no_metrics(ask: Http) -> None:
    for path in ("/api/v1/nothings", "/apis/a.example.com/v1/things/b", f"{CONFIG_MAPS}/a/nothing"):
        for query in ("", "?watch=1"):
            assert (await ask("GET", path + query))[0] in (404, 405)
    samples = await scrape(ask)
    assert not [known for known in samples.get("apiserver_request_total", {}) if dict(known)["resource"]]
    assert "apiserver_watch_events_total" not in samples


async def test_a_watch_counts_while_it_lasts_and_its_events(ask: Http) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    headers = {"Authorization": "Bearer secret"}
    async with ask.session.get(f"{ask.base}{CONFIG_MAPS}?watch=1", headers=headers) as watch:
        assert b'"ADDED"' in await watch.content.readline()
        during = await scrape(ask)
    of_maps = {"resource": "configmaps", "group": ""}
    assert value(during, "apiserver_longrunning_requests", verb="WATCH", scope="namespace", **of_maps) == 1
    assert value(during, "apiserver_watch_events_total", version="v1", **of_maps) == 1
    assert value(during, "apiserver_watch_events_sizes_count", version="v1", **of_maps) == 1
    assert value(during, "apiserver_init_events_total", **of_maps) == 1
    while value(await scrape(ask), "apiserver_longrunning_requests", verb="WATCH", **of_maps):
        pass
    assert value(await scrape(ask), "apiserver_request_total", verb="WATCH", **of_maps) == 1


async def test_a_watcher_that_does_not_keep_up_is_counted(ask: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "watch_buffer_events_max", 2)
    for name in ("a", "b", "c"):
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}})
    assert (await ask("GET", CONFIG_MAPS + "?watch=1"))[:2] == (200, "")
    assert value(await scrape(ask), "apiserver_terminated_watchers_total", group="", resource="configmaps") == 1


async def test_caches_and_etcd_are_measured(ask: Http) -> None:
    _, made, _ = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    await ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "v"}}, Content_Type="application/merge-patch+json")
    await ask("DELETE", f"{CONFIG_MAPS}/a")
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "b"}})
    samples = await scrape(ask)
    of_maps = {"group": "", "resource": "configmaps"}
    assert value(samples, "apiserver_storage_objects", resource="configmaps") == 1
    assert value(samples, "apiserver_storage_objects", resource="deployments.apps") == 0
    assert value(samples, "apiserver_resource_objects", **of_maps) == 1
    assert value(samples, "apiserver_storage_size_bytes", storage_cluster_id="etcd-0") == 0  # it is in memory
    assert value(samples, "apiserver_watch_cache_events_received_total", **of_maps) == 4
    assert value(samples, "apiserver_watch_cache_events_dispatched_total", **of_maps) == 4
    assert value(samples, "apiserver_watch_cache_initializations_total", **of_maps) == 1
    revision = value(samples, "apiserver_watch_cache_resource_version", **of_maps)
    assert revision > int(made["metadata"]["resourceVersion"])
    operations = {"create": 2, "update": 1, "delete": 1, "list": 1}
    for operation, count in operations.items():
        of_operation = {**of_maps, "operation": operation}
        assert value(samples, "etcd_request_duration_seconds_count", **of_operation) == count
        assert value(samples, "etcd_requests_total", **of_operation) == count


async def test_the_program_says_which_it_is(ask: Http) -> None:
    samples = await scrape(ask)
    assert value(samples, "kubernetes_build_info", major="1", minor="36", git_version="v1.36.2") == 1
    assert value(samples, "process_start_time_seconds") > 0
    assert value(samples, "python_info") == 1


async def test_health_has_named_checks(ask: Http) -> None:
    alive = f"[+]ping ok\n[+]log ok\n[+]etcd ok\n{HOOKS}"
    ready = f"[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n{HOOKS}[+]shutdown ok\n"
    for path, text in (
        ("/livez?verbose", f"{alive}livez check passed\n"),
        ("/healthz?verbose=1", f"{alive}healthz check passed\n"),
        ("/readyz?verbose", f"{ready}readyz check passed\n"),
        ("/readyz", "ok"),
        ("/livez/ping", "ok"),
        ("/readyz/etcd", "ok"),
        ("/readyz/shutdown", "ok"),
        (
            "/livez?verbose&exclude=etcd&exclude=x&exclude=a",
            alive.replace("[+]etcd ok", "[+]etcd excluded: ok")
            + 'warn: some health checks cannot be excluded: no matches for "a","x"\nlivez check passed\n',
        ),
    ):
        code, said, response = await ask("GET", path, Authorization="")
        assert (code, said) == (200, text), path
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (await ask("GET", "/livez/shutdown"))[0] == 404
    counted = {"verb": "GET", "subresource": "/livez", "resource": "", "code": "200", "component": ""}
    assert value(await scrape(ask), "apiserver_request_total", **counted) == 2


async def test_health_checks_are_measured(ask: Http) -> None:
    for path in ("/livez", "/livez?exclude=etcd", "/livez/ping", "/readyz"):
        await ask("GET", path)
    samples = await scrape(ask, "/metrics/slis")
    assert value(samples, "kubernetes_healthcheck", name="etcd", type="livez") == 1
    counts = {("ping", "livez"): 2, ("etcd", "livez"): 1, ("shutdown", "readyz"): 1}
    for (name, endpoint), count in counts.items():
        found = value(samples, "kubernetes_healthchecks_total", name=name, type=endpoint, status="success")
        assert found == count, (name, endpoint)


def test_a_failed_check_is_named_and_its_reason_withheld() -> None:
    checks = {name: lambda wrong=wrong: wrong for name, wrong in {"ping": "", "etcd": "away"}.items()}
    code, text = health.answer("/readyz", checks, verbose=False, exclude=())
    assert (code, text) == (500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")
    assert health.answer("/readyz/etcd", checks, verbose=False, exclude=()) == (500, "internal server error: away\n")
    assert health.answer("/readyz", checks, verbose=False, exclude=("etcd",)) == (200, "ok")


@pytest.mark.parametrize("accept", ["application/json", AGGREGATED])
@pytest.mark.parametrize("path", DOCUMENTS)
async def test_documents_that_the_client_has_are_not_sent_again(ask: Http, path: str, accept: str) -> None:
    code, body, response = await ask("GET", path, Accept=f"{accept},application/json")
    etag = response.headers["ETag"]
    assert code == 200 and body and re.fullmatch(r'"[0-9A-F]{128}"', etag)
    assert response.headers["Vary"] == "Accept" or "Accept" in response.headers["Vary"]
    code, body, response = await ask("GET", path, Accept=f"{accept},application/json", If_None_Match=etag)
    assert (code, body, response.headers["ETag"]) == (304, "", etag)


async def test_a_definition_changes_the_documents_it_is_in(ask: Http) -> None:
    before = {path: (await ask("GET", path))[2].headers["ETag"] for path in DOCUMENTS}
    schema = {"type": "object", "description": "A widget.", "properties": {"size": {"type": "integer"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "kind": "Widget"}
    spec: dict[str, Any] = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await ask("POST", path, {"metadata": {"name": "widgets.example.com"}, "spec": spec}))[0] == 201
    while (await ask("GET", "/apis/example.com/v1"))[0] != 200:
        pass
    changed = {path for path in DOCUMENTS if (await ask("GET", path, If_None_Match=before[path]))[0] == 200}
    assert changed == {"/apis", "/openapi/v2", "/openapi/v3"}
    assert (await ask("GET", "/apis/example.com/v1/namespaces/default/widgets"))[0] == 200
    assert value(await scrape(ask), "apiserver_request_total", group="example.com", resource="widgets") == 1
    assert value(await scrape(ask), "apiserver_storage_objects", resource="widgets.example.com") == 0


async def test_a_hash_leads_to_a_document_for_ever_or_to_its_successor(ask: Http) -> None:
    _, index, _ = await ask("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    code, document, response = await ask("GET", url)
    assert (code, document["openapi"]) == (200, "3.0.0")
    assert response.headers["Cache-Control"] == "public, immutable" and response.headers["Expires"].endswith("GMT")
    headers = {"Authorization": "Bearer secret"}
    old = f"{ask.base}/openapi/v3/apis/apps/v1?hash=0123"
    async with ask.session.get(old, headers=headers, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, url)
    _, _, plain = await ask("GET", "/openapi/v3/apis/apps/v1")
    assert "immutable" not in plain.headers["Cache-Control"]
