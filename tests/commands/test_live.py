"""`gitops-ml get` and `describe`: what Git wants beside what runs."""

from __future__ import annotations

import re
import signal

import pytest
import yaml

from gitops_ml.errors import NotLive
from tests.commands.test_waiting import waited
from tests.support import controllers as k8s
from tests.support.certificate_authority import authority
from tests.support.kubernetes_server import Log, api_server
from tests.support.life_of_a_release import Life
from tests.support.person import container_api, predictor_api, started

AGE = re.compile(r"\d+[smhd]$")


def rows(result) -> list[list[str]]:
    assert result.code == 0, result
    return [re.split(r"  +", line) for line in result.out.splitlines()]


def test_get_lists_each_release_with_its_status_and_whether_it_is_what_git_wants(life):
    id = life.deploys(container_api("iris"), container_api("price"))
    life.syncs()
    life.runs(k8s.ready(), k8s.ready())
    head, iris, price = rows(life.ann.runs("get"))
    assert head == [
        "ENVIRONMENT", "API", "STATUS", "READY", "DEPLOYMENT ID", "UP TO DATE", "LAST UPDATE",
    ]  # fmt: skip
    assert iris[:6] == ["staging", "iris", "live", "2/2", id, "yes"]
    assert AGE.match(iris[6])
    assert price[:4] == ["staging", "price", "pending", "-"]
    assert price[5:] == ["no", "-"]


def test_get_says_what_runs_while_a_new_version_is_on_its_way(life):
    old = life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    new = life.deploys(container_api("iris", compute={"cpu": "300m"}))
    result = life.ann.runs("get", "iris", "-o", "json")
    (found,) = result.json["releases"]
    assert (found["status"], found["deployment_id"], found["running_id"]) == (
        "status_updating", new, old,
    )  # fmt: skip
    assert found["is_up_to_date"] is False
    assert result.json["unseen"] == []


def test_get_explains_what_is_wrong_on_stderr_and_keeps_the_table_clean(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.crashes("KeyError: 'model'", restarts=4))
    result = life.ann.runs("get")
    assert rows(result)[1][2] == "error"
    assert result.err == (
        "iris in staging: predictor ended with exit code 1, 4 times: KeyError: 'model'; "
        "`gitops-ml logs` shows why\n"
    )


def test_without_a_cluster_get_lists_what_git_has_and_says_so(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging", "--offline", "--by-tag")
    result = ann.runs("get")
    assert rows(result)[1][:4] == ["staging", "iris", "unknown", "-"]
    assert result.err.count("there is no kubeconfig: set KUBECONFIG") == 2


def test_without_permission_for_applications_the_pods_are_enough(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    life.server.forbidden.add("applications")
    result = life.ann.runs("get")
    assert rows(result)[1][2:4] == ["live", "1/1"]
    assert "kubectl create rolebinding gitops-ml-sync-reader -n argocd" in result.err


def test_without_permission_for_pods_argo_cds_word_counts(life):
    life.deploys()
    life.syncs()
    life.server.forbidden.add("pods")
    result = life.ann.runs("get")
    assert rows(result)[1][2:4] == ["live", "-"]
    assert "kubectl create rolebinding gitops-ml-reader -n ml-staging" in result.err


def test_argo_cd_may_run_in_another_cluster_than_the_apis(life):
    with api_server() as management:
        file = life.has_kubeconfig()
        config = yaml.safe_load(file.read_text())
        config["clusters"].append({"name": "mgmt", "cluster": {"server": management.address}})
        config["contexts"].append({"name": "mgmt", "context": {"cluster": "mgmt", "user": "me"}})
        file.write_text(yaml.safe_dump(config))
        life.ann.has(container_api("iris"))
        life.ann.configures(
            clusters={"main": {"server": life.server.address}}, gitops={"argocd_context": "mgmt"}
        )
        life.deploys()
        life.syncs()
        life.runs(k8s.ready())
        (application,) = (
            each for key, each in life.server.objects.items() if key[1] == "applications"
        )
        life.server.loses("Application")
        management.has(application)
        (found,) = life.ann.runs("get", "-o", "json").json["releases"]
    assert (found["status"], found["argo_cd"]["sync"]) == ("status_live", "Synced")


def test_an_api_that_is_not_there_names_those_that_are(life):
    life.deploys()
    result = life.ann.runs("get", "irsi")
    assert result.code == 2
    assert (
        "there is no release of 'irsi' in staging, production; did you mean 'iris'?" in result.err
    )


def test_watching_goes_on_until_it_is_interrupted(life):
    life.deploys()
    process = started("get", "--watch", cwd=life.ann.project)
    assert process.stdout
    for _ in range(2):
        while not process.stdout.readline().startswith(b"ENVIRONMENT"):
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_describe_shows_replicas_events_and_where_it_is_called(life):
    life.ann.configures(
        clusters={
            "main": {
                "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]}
            }
        }
    )
    id = life.deploys()
    life.syncs()
    life.runs(k8s.ready(), k8s.crashes("boom", restarts=1))
    life.server.has(
        k8s.warning(life.pod(1), "BackOff", "Back-off restarting failed container", count=4),
        k8s.warning(
            k8s.pod(life.applied["iris"]["Deployment"], "gone", **k8s.ready()), "Unhealthy", "x"
        ),
    )
    result = life.ann.runs("describe", "iris")
    assert result.code == 0, result
    text = result.out
    assert text.startswith("iris in staging: error\n")
    assert f"  Git wants     {id}\n" in text
    assert "  replicas      1 of 2 ready, KEDA keeps 1 to 5\n" in text
    assert "  endpoint      https://ml.example.org/iris\n" in text
    assert re.search(r"iris-7d9f8c6b5d-p1  failed +iris-\w{12}  1 +node-1", text)
    assert re.search(r"BackOff  4 +\S+ +Pod/iris-7d9f8c6b5d-p1  Back-off restarting", text)
    assert "Unhealthy" not in text

    facts = life.ann.runs("describe", "iris", "-o", "json").json
    assert [replica["state"] for replica in facts["replicas"]] == ["ready", "failed"]
    assert facts["events"][0]["count"] == 4
    assert facts["autoscaler"] == {"min_replicas": 1, "max_replicas": 5}


def test_describe_takes_the_environment_that_is_named(life):
    life.deploys(environment="production")
    life.syncs(environment="production")
    life.runs(k8s.ready())
    assert life.ann.runs("describe", "iris", "-e", "production").out.startswith(
        "iris in production: live"
    )
    result = life.ann.runs("describe", "iris")
    assert result.code == 2
    assert "it is in production" in result.err


def test_a_certificate_that_is_not_checked_is_said_once(ann, tmp_path):
    _, context = authority(tmp_path)
    with api_server(tls=context) as server:
        life = Life(ann, server)
        file = server.kubeconfig(tmp_path / "kubeconfig", **{"insecure-skip-tls-verify": True})
        ann.monkeypatch.setenv("KUBECONFIG", str(file))
        life.deploys()
        life.syncs()
        life.runs(k8s.ready())
        result = ann.runs("get")
    assert rows(result)[1][2] == "live"
    assert result.err == (
        f"warning: the certificate of {server.address} is not checked, so another server could take "
        "its place and read the token: remove insecure-skip-tls-verify from the kubeconfig, and name "
        "the CA in certificate-authority\n"
    )


NO_TORCH = "ModuleNotFoundError: No module named 'torch'"
FAILED = k8s.ended(f"Traceback (most recent call last):\n{NO_TORCH}")


@pytest.fixture
def updated(life) -> tuple[str, str]:
    """The deployment ids of what serves, and of what Git wants."""
    old = life.deploys(predictor_api("iris"))
    life.syncs()
    life.runs(k8s.ready())
    new = life.deploys(predictor_api("iris", compute={"cpu": "300m"}))
    return old, new


def test_get_and_describe_name_the_error_and_what_still_runs(life, updated):
    old, _ = updated
    life.tries(FAILED, **k8s.job_failed())
    result = life.ann.runs("get")
    assert "error (preflight)" in result.out
    assert f"the preflight of the new image failed: {NO_TORCH}; {old} still runs" in result.err
    described = life.ann.runs("describe", "iris")
    assert f"  preflight     failed: {NO_TORCH}\n" in described.out
    assert "replicas      1 of 1 ready" in described.out
    assert life.ann.runs("describe", "iris", "-o", "json").json["preflight"] == (
        f"failed: {NO_TORCH}"
    )


def test_describe_has_the_events_of_a_job_that_gets_no_pod(life, updated):
    life.tries()
    job = life.applied["iris"]["Job"]
    life.server.has(k8s.warning(job, "FailedCreate", "exceeded quota: compute"))
    described = life.ann.runs("describe", "iris").out
    assert "the preflight of the new image has no pod yet" in described
    assert "exceeded quota: compute" in described


def test_a_wait_ends_when_the_preflight_has_failed(life, updated):
    old, new = updated
    with pytest.raises(NotLive) as raised:
        waited(
            life,
            lambda: life.tries(k8s.ready()),
            lambda: life.tries(FAILED, **k8s.job_failed()),
        )
    failure = raised.value
    assert str(failure).startswith(f"iris in staging ({new}): error (preflight): ")
    assert failure.reason.endswith(f"{NO_TORCH}; {old} still runs")
    assert "update_strategy.preflight: none" in failure.remedy


def test_logs_of_the_preflight(life, updated):
    life.tries(FAILED, **k8s.job_failed())
    pod = f"{life.applied['iris']['Job']['metadata']['name']}-p0"
    life.server.logs[pod, "preflight", False] = Log([f"2026-11-25T12:00:01.0Z {NO_TORCH}"])
    assert life.ann.runs("logs", "iris", "-c", "preflight").out == f"{pod}  {NO_TORCH}\n"


def test_who_may_not_read_jobs_gets_the_rest(life, updated):
    life.tries(FAILED, **k8s.job_failed())
    life.server.forbidden.add("jobs")
    result = life.ann.runs("get")
    assert "updating" in result.out
    assert "jobs is forbidden" in result.err
