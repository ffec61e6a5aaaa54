import base64

import pytest

from kubeloop.actors.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    ResourceFieldSelector,
    ResourceRequirements,
    Secret,
    SecretKeySelector,
    Service,
    ServicePort,
    ServiceSpec,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.kubelet.environment import (
    ConfigError,
    PodFacts,
    expand,
    references,
    resolve,
    service_variables,
)
from tests.kubelet.builders import pod

FACTS = PodFacts("node-1", "10.244.1.2", "192.168.0.1", {"cpu": "8", "memory": "32Gi"})


def service(name: str, ip: str, *ports: ServicePort, namespace: str = "default") -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(cluster_ip=ip, ports=list(ports))
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A ${A} $", "$A ${A} $"), ("$(A", "$(A"), ("plain", "plain")],
)
def test_references_to_known_names_are_replaced(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_variables_see_those_before_them_and_services() -> None:
    container = Container(
        name="app",
        image="i",
        env=[EnvVar(name="URL", value="http://$(WEB_SERVICE_HOST):$(PORT)"), EnvVar(name="PORT", value="80"),
             EnvVar(name="BOTH", value="$(PORT)$(URL)")],
    )  # fmt: skip
    values = resolve(container, pod(), FACTS, {}, {"WEB_SERVICE_HOST": "10.96.0.9"})
    assert values["URL"] == "http://10.96.0.9:$(PORT)"
    assert values["BOTH"] == "80http://10.96.0.9:$(PORT)"


def test_fields_of_the_pod_and_resources_of_the_container() -> None:
    def at(path: str) -> EnvVarSource:
        return EnvVarSource(field_ref=ObjectFieldSelector(field_path=path))

    def of(resource: str, divisor: str = "1") -> EnvVarSource:
        return EnvVarSource(resource_field_ref=ResourceFieldSelector(resource=resource, divisor=divisor))

    container = Container(
        name="app",
        image="i",
        resources=ResourceRequirements(limits={"cpu": "1500m"}, requests={"memory": "64Mi"}),
        env=[
            EnvVar(name="NAME", value_from=at("metadata.name")),
            EnvVar(name="IP", value_from=at("status.podIP")),
            EnvVar(name="NODE", value_from=at("spec.nodeName")),
            EnvVar(name="CPU", value_from=of("limits.cpu")),
            EnvVar(name="MILLI", value_from=of("limits.cpu", "1m")),
            EnvVar(name="MEMORY", value_from=of("requests.memory", "1Mi")),
            EnvVar(name="NODE_MEMORY", value_from=of("limits.memory", "1Gi")),
        ],
    )
    assert resolve(container, pod(), FACTS, {}, {}) == {
        "NAME": "web", "IP": "10.244.1.2", "NODE": "node-1", "CPU": "2", "MILLI": "1500", "MEMORY": "64",
        "NODE_MEMORY": "32",
    }  # fmt: skip


def test_config_maps_and_secrets_by_key_and_as_a_whole() -> None:
    container = Container(
        name="app",
        image="i",
        env_from=[EnvFromSource(prefix="P_", config_map_ref=ConfigMapEnvSource(name="settings"))],
        env=[
            EnvVar(name="PASSWORD", value_from=EnvVarSource(secret_key_ref=SecretKeySelector(name="login", key="pw")))
        ],
    )
    sources = {
        ("configmaps", "settings"): ConfigMap(data={"A": "1"}),
        ("secrets", "login"): Secret(data={"pw": base64.b64encode(b"secret").decode()}),
    }
    assert references(container) == [("configmaps", "settings"), ("secrets", "login")]
    assert resolve(container, pod(), FACTS, sources, {}) == {"P_A": "1", "PASSWORD": "secret"}


def test_what_is_missing_is_named_unless_it_is_optional() -> None:
    def asking(**selector: object) -> Container:
        source = EnvVarSource(config_map_key_ref=ConfigMapKeySelector(name="settings", key="K", **selector))  # type: ignore[arg-type]
        return Container(name="app", image="i", env=[EnvVar(name="X", value_from=source)])

    with pytest.raises(ConfigError, match='^configmap "settings" not found$'):
        resolve(asking(), pod(), FACTS, {}, {})
    with pytest.raises(ConfigError, match="^couldn't find key K in ConfigMap default/settings$"):
        resolve(asking(), pod(), FACTS, {("configmaps", "settings"): ConfigMap(data={})}, {})
    assert resolve(asking(optional=True), pod(), FACTS, {}, {}) == {}


def test_services_become_docker_link_variables() -> None:
    web = service(
        "my-web", "10.96.0.9", ServicePort(name="http", port=80), ServicePort(name="dns", port=53, protocol="UDP")
    )
    assert service_variables([web], "default") == {
        "MY_WEB_SERVICE_HOST": "10.96.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_DNS": "53",
        "MY_WEB_PORT": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.9",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.9:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.9",
    }


def test_a_pod_knows_services_of_its_namespace_and_the_api_server() -> None:
    services = [
        service("kubernetes", "10.96.0.1", ServicePort(port=443)),
        service("web", "10.96.0.9", ServicePort(port=80), namespace="other"),
        service("headless", "None", ServicePort(port=80), namespace="mine"),
    ]
    assert set(service_variables(services, "mine")) >= {"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}
    assert not any(name.startswith(("WEB", "HEADLESS")) for name in service_variables(services, "mine"))
    assert "WEB_SERVICE_HOST" not in service_variables(services, "other", links=False)


def test_addresses_of_the_nodes_proxy_replace_cluster_ips() -> None:
    found = service_variables(
        [service("db", "10.96.0.9", ServicePort(port=80))],
        "default",
        addresses={("default", "db", 80): ("127.32.129.1", 10080)},
    )
    assert (found["DB_SERVICE_HOST"], found["DB_SERVICE_PORT"]) == ("127.32.129.1", "10080")
    assert found["DB_PORT_80_TCP"] == "tcp://127.32.129.1:10080"
