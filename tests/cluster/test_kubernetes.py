"""The official client against an API server: lists, refusals, and which cluster is meant."""

from __future__ import annotations

import threading

import pytest
import yaml

from gitops_ml.cluster.kubeconfig import ClusterRef, choose_context
from gitops_ml.cluster.kubernetes import KubernetesCluster
from gitops_ml.errors import Refused, ServerFailed, UsageError
from tests.cluster.test_status import DEPLOYMENT, SCALED
from tests.support import controllers as k8s
from tests.support.kubernetes_server import TOKEN, Log, api_server
from tests.support.ports import free_port


@pytest.fixture
def server():
    with api_server() as running:
        yield running


@pytest.fixture
def cluster(server, tmp_path):
    return connected(server.kubeconfig(tmp_path / "config"))


def connected(kubeconfig, **changes) -> KubernetesCluster:
    return KubernetesCluster(meant(**changes), {"KUBECONFIG": str(kubeconfig)})


def meant(**changes) -> ClusterRef:
    usual = {
        "name": "the cluster main", "key": "clusters.main.context", "context": None,
        "server": "https://kubernetes.default.svc", "is_only": True,
    }  # fmt: skip
    return ClusterRef(**{**usual, **changes})


def test_a_deployment_comes_with_its_own_pods_and_autoscaler_page_by_page(server, cluster):
    server.page = 2
    deployment = k8s.deployed(DEPLOYMENT, replicas=5)
    server.has(deployment, k8s.scaled(SCALED))
    server.has(*(k8s.pod(deployment, f"p{n}", **k8s.ready()) for n in range(5)))
    stranger = k8s.pod(deployment, "other", **k8s.ready())
    stranger["metadata"]["labels"]["gitops-ml.dev/environment"] = "production"
    server.has(stranger)
    (found,) = cluster.workloads("ml-staging", environment="staging")
    assert (found.ready, found.requested, len(found.pods)) == (5, 5, 5)
    assert found.scaler is not None
    assert (found.scaler.min_replicas, found.scaler.max_replicas) == (1, 5)
    assert sum("/pods?" in request for request in server.requests) == 3


def test_a_cluster_without_keda_has_deployments_all_the_same(server, cluster):
    server.has(k8s.deployed(DEPLOYMENT))
    (found,) = cluster.workloads("ml-staging", environment="staging", api="iris")
    assert found.scaler is None


def test_a_cluster_without_argo_cd_says_how_to_name_the_one_that_has_it(server, cluster):
    with pytest.raises(
        ServerFailed, match=r"Argo CD is not installed there.*gitops\.argocd_context"
    ):
        cluster.applications("argocd", environment="staging")


def test_warnings_are_events_that_are_not_routine(server, cluster):
    pod = k8s.pod(DEPLOYMENT, **k8s.starting())
    routine = {**k8s.warning(pod, "Pulled", "Successfully pulled image"), "type": "Normal"}
    server.has(routine, k8s.warning(pod, "Unhealthy", "Readiness probe failed", count=7))
    (event,) = cluster.warnings("ml-staging")
    assert (event.object, event.reason, event.count) == (f"Pod/{pod['metadata']['name']}", "Unhealthy", 7)  # fmt: skip


def test_what_the_token_may_not_read_is_said_with_the_line_that_allows_it(server, cluster):
    server.forbidden |= {"pods", "applications"}
    with pytest.raises(Refused) as refused:
        cluster.workloads("ml-staging", environment="staging")
    assert 'cannot list resource "pods"' in str(refused.value)
    assert (
        "kubectl create rolebinding gitops-ml-reader -n ml-staging --clusterrole=gitops-ml-reader"
        in str(refused.value)
    )
    with pytest.raises(Refused, match="kubectl create rolebinding gitops-ml-sync-reader -n argocd"):
        cluster.applications("argocd", environment="staging")


def test_credentials_that_have_expired_are_said_and_never_shown(server, tmp_path):
    cluster = connected(server.kubeconfig(tmp_path / "config", token="old-secret-token"))
    with pytest.raises(Refused, match="log in again") as refused:
        cluster.warnings("ml-staging")
    assert "old-secret-token" not in repr(refused.value)


def test_a_cluster_that_does_not_answer_is_named_with_its_address(server, tmp_path):
    server.address = f"http://127.0.0.1:{free_port()}"
    cluster = connected(server.kubeconfig(tmp_path / "config"))
    with pytest.raises(ServerFailed) as failed:
        cluster.warnings("ml-staging")
    message = str(failed.value)
    assert message.startswith(f"the cluster main (the context 'test', {server.address})")
    assert "refused" in message.lower()
    assert "0x" not in message
    assert TOKEN not in message


def has_five_warnings(server):
    pods = (k8s.pod(DEPLOYMENT, f"p{number}", **k8s.starting()) for number in range(5))
    server.has(*(k8s.warning(pod, "Unhealthy", "no") for pod in pods))
    server.page = 2


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_failure_that_passes_is_no_failure(server, cluster, code):
    has_five_warnings(server)
    server.passing = [code, 0, code]
    assert len(cluster.warnings("ml-staging")) == 5


def test_a_list_that_the_server_has_forgotten_is_read_from_its_beginning(server, cluster):
    has_five_warnings(server)
    server.passing = [0, 410, 0, 0, 410]
    assert len(cluster.warnings("ml-staging")) == 5
    server.passing = [410]
    with pytest.raises(ServerFailed, match="it passes"):
        cluster.warnings("ml-staging")


def test_a_connection_that_breaks_within_an_answer_is_reported(server, cluster):
    server.cut = True
    with pytest.raises(ServerFailed, match=r"does not answer: .*IncompleteRead"):
        cluster.warnings("ml-staging")
    with pytest.raises(ServerFailed, match=r"does not answer: .*IncompleteRead"):
        cluster.logs("ml-staging", "iris-1", "predictor")
    with pytest.raises(ServerFailed, match=r"does not answer: .*IncompleteRead"):
        cluster.post("ml-staging", "iris", "/", body=b"", headers={}, seconds=5)


# -- logs ------------------------------------------------------------------------------------------


def test_a_followed_log_gives_each_line_as_it_comes_and_can_be_left(server, cluster):
    log = server.logs["iris-1", "predictor", False] = Log(["t1 one"], is_over=False)
    stream = cluster.logs("ml-staging", "iris-1", "predictor", follow=True)
    lines = iter(stream)
    assert next(lines) == "t1 one"
    log.says("t2 zwei, nach einer Pause: ü")
    assert next(lines) == "t2 zwei, nach einer Pause: ü"
    waiting = threading.Thread(target=lambda: list(lines))
    waiting.start()
    stream.close()
    waiting.join(60)
    assert not waiting.is_alive()
    assert not stream.is_over


def test_a_log_ends_with_its_process(server, cluster):
    server.logs["iris-1", "predictor", True] = Log(["t1 boom"])
    stream = cluster.logs("ml-staging", "iris-1", "predictor", previous=True)
    assert list(stream) == ["t1 boom"]
    assert stream.is_over


def test_a_container_that_has_not_run_has_no_log(server, cluster):
    with pytest.raises(ServerFailed, match="is waiting to start: ContainerCreating"):
        cluster.logs("ml-staging", "iris-1", "predictor")


# -- which cluster ---------------------------------------------------------------------------------

TWO = {
    "current-context": "a",
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one.example"}},
        {"name": "two", "cluster": {"server": "https://two.example/"}},
    ],
    "contexts": [
        {"name": "a", "context": {"cluster": "one"}},
        {"name": "b", "context": {"cluster": "two"}},
    ],
}


@pytest.mark.parametrize(
    ("changes", "context"),
    [
        ({}, "a"),
        ({"context": "b"}, "b"),
        ({"server": "https://two.example"}, "b"),
        ({"server": "https://two.example", "is_only": False}, "b"),
        ({"server": "https://10.0.0.1:6443"}, "a"),
    ],
)
def test_the_context_is_the_named_one_or_that_of_the_server_or_the_current_one(changes, context):
    assert choose_context(TWO, meant(**changes)) == context


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "c"}, r"clusters\.main\.context: .* no context 'c'; it has: a, b"),
        ({"is_only": False}, r"set clusters\.main\.context in .*\(a, b\)"),
    ],
)
def test_a_cluster_is_never_guessed(changes, message):
    with pytest.raises(UsageError, match=message):
        choose_context(TWO, meant(**changes))


def test_without_a_kubeconfig_the_message_says_what_to_set(tmp_path):
    cluster = KubernetesCluster(meant(), {"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="there is no kubeconfig: set KUBECONFIG"):
        cluster.warnings("ml-staging")


def test_a_pod_without_a_service_account_says_so(tmp_path):
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    with pytest.raises(UsageError, match="give it a service account"):
        KubernetesCluster(meant(), environ).warnings("ml-staging")
    elsewhere = meant(server="https://two.example", is_only=False)
    with pytest.raises(UsageError, match="is not the cluster that this runs in"):
        KubernetesCluster(elsewhere, environ).warnings("ml-staging")


def test_a_kubeconfig_that_is_not_yaml_is_named(tmp_path):
    broken = tmp_path / "config"
    broken.write_text("clusters: [")
    with pytest.raises(UsageError, match=str(broken)):
        connected(broken).warnings("ml-staging")
    broken.write_text(yaml.safe_dump({"clusters": [], "contexts": [], "users": []}))
    with pytest.raises(UsageError, match="the kubeconfig has no context"):
        connected(broken).warnings("ml-staging")
