import pytest

from kubeloop.actors.apiserver.path import ResourcePath, parse, verb_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ResourcePath("", "v1", "pods")),
        ("/api/v1/namespaces", ResourcePath("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", ResourcePath("", "v1", "namespaces", "", "a")),
        ("/api/v1/namespaces/a/status", ResourcePath("", "v1", "namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/finalize", ResourcePath("", "v1", "namespaces", "", "a", "finalize")),
        ("/api/v1/namespaces/a/pods", ResourcePath("", "v1", "pods", "a")),
        ("/api/v1/namespaces/a/pods/b/log", ResourcePath("", "v1", "pods", "a", "b", "log")),
        ("/api/v1/namespaces/a/pods/b/proxy/x/y", ResourcePath("", "v1", "pods", "a", "b", "proxy", "x/y")),
        ("/apis/apps/v1/namespaces/a/deployments/b", ResourcePath("apps", "v1", "deployments", "a", "b")),
        ("/api/v1/watch/namespaces/a/pods", ResourcePath("", "v1", "pods", "a", watch=True)),
        ("/api/v1/nodes/n/status", ResourcePath("", "v1", "nodes", "", "n", "status")),
    ],
)
def test_a_path_names_a_resource(path: str, expected: ResourcePath) -> None:
    assert parse(path) == expected


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"]
)
def test_other_paths_name_none(path: str) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    ("method", "path", "watch", "verb"),
    [
        ("GET", "/api/v1/pods", False, "list"),
        ("GET", "/api/v1/pods", True, "watch"),
        ("GET", "/api/v1/watch/pods", False, "watch"),
        ("GET", "/api/v1/namespaces/a/pods/b", True, "get"),
        ("HEAD", "/api/v1/namespaces/a/pods/b", False, "get"),
        ("POST", "/api/v1/namespaces/a/pods", False, "create"),
        ("PUT", "/api/v1/namespaces/a/pods/b", False, "update"),
        ("PATCH", "/api/v1/namespaces/a/pods/b", False, "patch"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", False, "delete"),
        ("DELETE", "/api/v1/namespaces/a/pods", False, "deletecollection"),
        ("OPTIONS", "/api/v1/namespaces/a/pods", False, None),
    ],
)
def test_a_method_on_a_path_is_a_verb(method: str, path: str, watch: bool, verb: str | None) -> None:
    found = parse(path)
    assert found is not None
    assert verb_of(method, found, watch) == verb
