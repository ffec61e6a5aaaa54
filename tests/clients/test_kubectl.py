"""The kubectl of this machine, command by command, as a user types them."""

import json
import re
import subprocess
import threading

import pytest
import yaml

from tests.clients.conftest import KUBECTL, Kubectl

pytestmark = pytest.mark.kubeloop(nodes=2)

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {sim.kubeloop.io/log-lines: "first\\nsecond"}
    spec:
      containers:
        - name: web
          image: example/web:1
          ports: [{containerPort: 80}]
"""


@pytest.fixture
def web(kubectl: Kubectl) -> str:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return "web"


def test_create_makes_each_basic_kind(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    assert "namespace/team created" in kubectl("create", "namespace", "team")
    assert "configmap/settings created" in kubectl("create", "configmap", "settings", "--from-literal=a=1")
    assert "secret/key created" in kubectl("create", "secret", "generic", "key", "--from-literal=b=2")
    assert "serviceaccount/robot created" in kubectl("create", "serviceaccount", "robot")
    assert "service/web created" in kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    assert "already exists" in kubectl("create", "namespace", "team", fails=True)


def test_apply_creates_then_changes_then_says_unchanged(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", stdin=WEB)
    assert "deployment.apps/web unchanged" in kubectl("apply", "-f", "-", stdin=WEB)
    assert "configured" in kubectl("apply", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 3"))
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"


def test_apply_server_side_owns_what_it_sets(kubectl: Kubectl) -> None:
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=WEB)
    other = WEB.replace("replicas: 2", "replicas: 5")
    conflict = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, fails=True)
    assert "conflict" in conflict and ".spec.replicas" in conflict
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "5"


def test_get_prints_tables_wide_yaml_and_json(kubectl: Kubectl, web: str) -> None:
    lines = kubectl("get", "pods").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[1:3] for line in lines[1:]] == [["1/1", "Running"]] * 2
    wide = kubectl("get", "pods", "-o", "wide").splitlines()[0].split()
    assert wide[5:8] == ["IP", "NODE", "NOMINATED"]
    assert "2/2" in kubectl("get", "deployments")
    assert yaml.safe_load(kubectl("get", "deployment", "web", "-o", "yaml"))["status"]["availableReplicas"] == 2
    assert len(json.loads(kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]) == 2
    nodes = kubectl("get", "nodes", "-o", "wide").splitlines()
    assert [line.split()[1] for line in nodes[1:]] == ["Ready", "Ready"]
    assert "No resources found" in kubectl("get", "pods", "-l", "app=nothing")
    assert "NotFound" in kubectl("get", "pod", "nobody", fails=True)
    assert "service/kubernetes" in kubectl("get", "all")
    assert "kube-system" in kubectl("get", "namespaces", "--sort-by=.metadata.name")


def test_get_watch_shows_changes_as_they_come(kubectl: Kubectl, environment: dict[str, str]) -> None:
    """The watch begins at some moment that kubectl does not tell: changes go on until one is seen."""
    assert KUBECTL is not None
    command = [KUBECTL, "get", "configmaps", "-w", "-o", "name"]
    seen = threading.Event()
    watch = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            if line == "configmap/later\n":
                seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        kubectl("create", "configmap", "later")
        for number in range(20):
            kubectl("annotate", "configmap", "later", "--overwrite", f"number={number}")
            if seen.wait(timeout=0.2):
                break
        assert seen.is_set()
    finally:
        watch.kill()
        watch.wait()
        reader.join()
        assert watch.stdout is not None
        watch.stdout.close()


def test_describe_tells_conditions_and_events(kubectl: Kubectl, web: str) -> None:
    pod = kubectl("get", "pods", "-o", "name").splitlines()[0]
    described = kubectl("describe", pod)
    assert "Successfully assigned default/" in described and "Container started" in described
    assert "Scaled up replica set web-" in kubectl("describe", "deployment", "web")
    assert re.search(r"Ready +True +.* KubeletReady", kubectl("describe", "node", "node-1"))


def test_logs_are_printed_and_followed(kubectl: Kubectl, web: str) -> None:
    pod = kubectl("get", "pods", "-o", "name").splitlines()[0]
    assert kubectl("logs", pod) == "first\nsecond\n"
    assert kubectl("logs", pod, "--tail=1") == "second\n"
    finishing = {
        "sim.kubeloop.io/run-time": "1",
        "sim.kubeloop.io/log-lines": "one\\ntwo",
    }
    overrides = json.dumps({"metadata": {"annotations": finishing}}).replace("\\\\n", "\\n")
    kubectl("run", "task", "--image=example/task:1", "--restart=Never", f"--overrides={overrides}")
    kubectl("wait", "pod/task", "--for=jsonpath={.status.phase}", "--timeout=30s")
    kubectl("wait", "pod/task", "--for=condition=PodReadyToStartContainers", "--timeout=30s")
    assert kubectl("logs", "-f", "task") == "one\ntwo\n"


def test_scale_changes_the_number_of_pods(kubectl: Kubectl, web: str) -> None:
    assert "scaled" in kubectl("scale", "deployment/web", "--replicas=4")
    kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=4", "--timeout=30s")
    assert "scaled" in kubectl("scale", "deployment/web", "--current-replicas=4", "--replicas=1")
    kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=30s")


def test_set_image_rolls_out_and_undo_rolls_back(kubectl: Kubectl, web: str) -> None:
    kubectl("set", "image", "deployment/web", "web=example/web:2")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert kubectl("rollout", "history", "deployment/web").split()[-4:] == ["1", "<none>", "2", "<none>"]
    assert "example/web:2" in kubectl("rollout", "history", "deployment/web", "--revision=2")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deployment", "web", "-o", image) == "example/web:1"
    assert "restarted" in kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "paused" in kubectl("rollout", "pause", "deployment/web")
    assert "resumed" in kubectl("rollout", "resume", "deployment/web")


def test_label_annotate_and_patch_change_objects(kubectl: Kubectl, web: str) -> None:
    kubectl("label", "deployment", "web", "tier=front")
    kubectl("annotate", "deployment", "web", "note=hello")
    assert "web" in kubectl("get", "deployments", "-l", "tier=front")
    kubectl("label", "deployment", "web", "tier-")
    assert "No resources found" in kubectl("get", "deployments", "-l", "tier=front")
    kubectl("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    kubectl("patch", "deployment", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":1}]')
    kubectl("patch", "deployment", "web", "-p", '{"spec":{"revisionHistoryLimit":2}}')
    got = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    assert (got["spec"]["replicas"], got["spec"]["revisionHistoryLimit"]) == (1, 2)
    assert got["metadata"]["annotations"]["note"] == "hello"


def test_taint_cordon_and_drain_empty_a_node(kubectl: Kubectl, web: str) -> None:
    kubectl("taint", "nodes", "node-1", "dedicated=db:NoSchedule")
    assert "dedicated" in kubectl("get", "node", "node-1", "-o", "yaml")
    kubectl("taint", "nodes", "node-1", "dedicated-")
    assert "cordoned" in kubectl("cordon", "node-1")
    assert "SchedulingDisabled" in kubectl("get", "node", "node-1")
    assert "drained" in kubectl("drain", "node-1", "--ignore-daemonsets", "--timeout=60s")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    pods = json.loads(kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-2"}
    assert "uncordoned" in kubectl("uncordon", "node-1")


def test_delete_takes_dependents_along(kubectl: Kubectl, web: str) -> None:
    assert 'deployment.apps "web" deleted' in kubectl("delete", "deployment", "web")
    kubectl("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=30s")
    assert "No resources found" in kubectl("get", "replicasets,pods")
    kubectl("create", "namespace", "gone")
    kubectl("create", "configmap", "inside", "-n", "gone")
    kubectl("delete", "namespace", "gone", "--timeout=30s")
    assert "NotFound" in kubectl("get", "namespace", "gone", fails=True)


def test_wait_reports_conditions_and_time_outs(kubectl: Kubectl, web: str) -> None:
    assert "condition met" in kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
    assert "condition met" in kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=30s")
    said = kubectl("wait", "deployment/web", "--for=condition=Nonsense", "--timeout=1s", fails=True)
    assert "timed out" in said


def test_explain_and_api_resources_describe_the_api(kubectl: Kubectl) -> None:
    assert "containers" in kubectl("explain", "pod.spec") and "KIND:       Pod" in kubectl("explain", "pod")
    assert "<string>" in kubectl("explain", "deployment.spec.template.spec.containers.image")
    resources = kubectl("api-resources")
    assert "deployments" in resources and "deploy" in resources
    assert "apps/v1" in kubectl("api-versions")
    assert "Server Version: v1.36" in kubectl("version")
    assert "is running at https://127.0.0.1" in kubectl("cluster-info")


def test_auth_can_i_and_whoami_answer(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "deployments").strip() == "yes"
    assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_run_and_expose_make_a_service_with_endpoints(kubectl: Kubectl) -> None:
    kubectl("run", "solo", "--image=example/solo:1", "--port=80", "--labels=app=solo")
    kubectl("wait", "pod/solo", "--for=condition=Ready", "--timeout=30s")
    assert "exposed" in kubectl("expose", "pod", "solo", "--port=80", "--target-port=8080")
    kubectl("wait", "endpoints/solo", "--for=jsonpath={.subsets[0].addresses[0].ip}", "--timeout=30s")
    address = kubectl("get", "pod", "solo", "-o", "jsonpath={.status.podIP}")
    assert address in kubectl("get", "endpointslices")


@pytest.mark.parametrize("profile", ["legacy", "general", "baseline", "restricted", "netadmin", "sysadmin"])
def test_debug_puts_a_container_into_a_running_pod(kubectl: Kubectl, profile: str) -> None:
    kubectl("run", "solo", "--image=example/solo:1")
    kubectl("wait", "pod/solo", "--for=condition=Ready", "--timeout=30s")
    look = ("debug", "pod/solo", "--image=example/tools:1", f"--profile={profile}", "--attach=false")
    kubectl(*look, "--container=look", "--target=solo")
    found = json.loads(kubectl("get", "pod", "solo", "-o", "json"))
    assert [one["name"] for one in found["spec"]["ephemeralContainers"]] == ["look"]
    kubectl(*look, "--container=again")
    assert "again" in kubectl("describe", "pod", "solo")


def test_edit_and_replace_keep_the_object_whole(kubectl: Kubectl, web: str) -> None:
    document = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    document["spec"]["replicas"] = 3
    assert "replaced" in kubectl("replace", "-f", "-", stdin=json.dumps(document))
    assert "the object has been modified" in kubectl("replace", "-f", "-", stdin=json.dumps(document), fails=True)
    assert "diff" in kubectl("diff", "--help")


def test_refusals_are_worded_as_by_a_real_server(kubectl: Kubectl) -> None:
    bad_name = WEB.replace("name: web\n  labels", "name: Web_1\n  labels")
    assert "a lowercase RFC 1123 subdomain must consist of" in kubectl("apply", "-f", "-", stdin=bad_name, fails=True)
    unknown = WEB.replace("replicas: 2", "replicaz: 2")
    assert 'unknown field "spec.replicaz"' in kubectl("apply", "-f", "-", stdin=unknown, fails=True)
    no_kind = kubectl(
        "apply", "-f", "-", stdin="apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}", fails=True
    )
    assert "no matches for kind" in no_kind
