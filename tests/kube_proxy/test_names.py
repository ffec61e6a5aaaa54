import pytest

from kubeloop.actors.kube_proxy.names import ServiceName, resolve

SERVICES = {"default/web", "shop/db", "default/db"}


@pytest.mark.parametrize(
    ("host", "namespace", "expected"),
    [
        ("web", "default", "default/web"),
        ("web", "shop", None),
        ("db", "shop", "shop/db"),
        ("db.shop", "default", "shop/db"),
        ("db.shop.svc", "default", "shop/db"),
        ("db.shop.svc.cluster.local", "default", "shop/db"),
        ("DB.shop.svc.cluster.local.", "default", "shop/db"),
        ("nobody.shop", "default", None),
        ("example.com", "default", None),
        ("db.svc", "shop", None),
    ],
)
def test_names_resolve_as_cluster_dns_does(host: str, namespace: str, expected: str | None) -> None:
    found = resolve(host, namespace, SERVICES.__contains__)
    assert (found.key if found is not None else None) == expected


def test_a_label_before_a_service_names_one_of_its_pods() -> None:
    assert resolve("db-0.db.shop", "default", SERVICES.__contains__) == ServiceName("shop", "db", "db-0")
    assert resolve("db-0.db", "shop", SERVICES.__contains__) == ServiceName("shop", "db", "db-0")
