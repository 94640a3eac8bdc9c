"""What the Job that tries a new image means for the status of the release."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gitops_ml.cluster.kubernetes_objects import (
    read_application,
)
from gitops_ml.cluster.observed import CODES, ExpectedRelease, Observed, Status
from gitops_ml.cluster.replicas import preflight_note
from gitops_ml.cluster.status import status_of
from tests.support import controllers as k8s
from tests.support.workloads import read_preflights, read_workloads

ID, OLD, COMMIT = "iris-111111111111", "iris-000000000000", "c" * 40
NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
LABELS = {"gitops-ml.dev/api": "iris", "gitops-ml.dev/environment": "staging"}


def item(kind: str, name: str, id: str, container: str) -> dict:
    labels = {**LABELS, "gitops-ml.dev/deployment-id": id}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": container}]}}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "ml", "labels": LABELS},
        "spec": {"template": template},
    }


JOB = item("Job", "iris-preflight-01234567", ID, "preflight")
DEPLOYMENT = item("Deployment", "iris", OLD, "predictor")
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/app/predictor.py", line 1, in <module>\n'
    "ModuleNotFoundError: No module named 'torch'"
)


def preflight(*statuses, **status):
    job = k8s.job(JOB, **status)
    pods = [k8s.job_pod(JOB, f"p{n}", **each) for n, each in enumerate(statuses)]
    (found,) = read_preflights([job], pods)
    return found


def of(*statuses, serving: bool = True, argo_cd=None, **status) -> Status:
    """The status of a release whose preflight has these pods, while the old one serves."""
    pods = [k8s.pod(DEPLOYMENT, "a", **k8s.ready())]
    workloads = read_workloads([k8s.deployed(DEPLOYMENT)], pods, []) if serving else ()
    seen = Observed(
        application=argo_cd,
        workload=next(iter(workloads), None),
        preflight=preflight(*statuses, **status),
    )
    return status_of(ExpectedRelease("iris", "staging", ID, COMMIT), seen, now=NOW)


def test_a_failure_is_final_and_names_the_error_and_what_still_runs():
    found = of(k8s.ended(TRACEBACK), **k8s.job_failed())
    assert (found.state, found.is_final) == ("error (preflight)", True)
    assert found.code == CODES["error (preflight)"] == "status_error_preflight"
    assert found.reason == (
        "the preflight of the new image failed: ModuleNotFoundError: No module named 'torch'; "
        f"{OLD} still runs"
    )
    assert "update_strategy.preflight: none" in found.remedy


def test_a_first_release_has_nothing_that_still_runs():
    found = of(k8s.ended(TRACEBACK), serving=False, **k8s.job_failed())
    assert found.reason.endswith("No module named 'torch'")


def test_the_message_of_argo_cd_says_less_than_the_pods():
    labels = {"name": "iris", "environment": "staging", "deployment_id": ID}
    template = {"metadata": {"name": "iris", "labels": LABELS, "annotations": {}}}
    failed = k8s.sync_failed(COMMIT, "Job", "iris-preflight-01234567", "backoff limit")
    made = {"metadata": {"namespace": "argocd"}, "spec": {"template": template}}
    argo_cd = read_application(k8s.application(made, labels, **failed))
    assert "torch" in of(k8s.ended(TRACEBACK), argo_cd=argo_cd, **k8s.job_failed()).reason


def test_a_process_that_is_killed_for_its_memory():
    found = of(k8s.ended("", code=137, reason="OOMKilled"), **k8s.job_failed())
    assert (found.state, found.is_final) == ("error (out of memory)", True)
    assert "compute.mem" in found.remedy


def test_a_process_without_words():
    assert "it ended with exit code 139; " in of(k8s.ended("", code=139), **k8s.job_failed()).reason


def test_a_deadline_is_the_reason_where_no_pod_is_left():
    found = of(**k8s.job_failed("DeadlineExceeded"))
    assert "Job was active longer than specified deadline" in found.reason


def test_a_failed_model_fetch_counts_as_well():
    fetch = k8s.ended("no such model", container="fetch-models")
    assert "no such model" in of(fetch, **k8s.job_failed()).reason


@pytest.mark.parametrize(
    ("statuses", "doing"),
    [
        ((), "has no pod yet"),
        ((k8s.waiting("ContainerCreating"),), "starts"),
        ((k8s.ready(),), "runs"),
        (
            (k8s.unschedulable("0/1 nodes are available"),),
            "waits for a node (the scheduler: 0/1 nodes are available)",
        ),
    ],
)
def test_a_running_one_is_an_update(statuses, doing):
    expected = f"the preflight of the new image {doing}; {OLD} still runs"
    assert of(*statuses) == Status("updating", expected)


def test_an_image_that_cannot_be_pulled_is_found_in_the_preflight():
    found = of(k8s.pull_backs_off("manifest unknown"))
    assert (found.state, found.is_final) == ("error (image pull)", True)
    assert "manifest unknown" in found.reason
    assert f"{OLD} still runs" in found.reason


def test_a_missing_secret_is_found_in_the_preflight():
    found = of(k8s.waiting("CreateContainerConfigError", 'secret "db" not found'))
    assert found.state == "error"
    assert 'secret "db" not found' in found.reason
    assert "create the Secret" in found.remedy


def test_a_pod_that_ended_before_its_job_did_is_not_final_yet():
    found = of(k8s.ended(TRACEBACK), active=1)
    assert (found.state, found.is_final) == ("error (preflight)", False)


def test_after_a_success_the_rollout_counts():
    found = of(k8s.ended("", code=0), **k8s.job_succeeded())
    assert "preflight" not in found.reason
    assert found.state == "pending"


def test_its_pods_are_not_replicas():
    pods = [k8s.pod(DEPLOYMENT, "a", **k8s.ready()), k8s.job_pod(JOB, **k8s.ended(TRACEBACK))]
    (found,) = read_workloads([k8s.deployed(DEPLOYMENT)], pods, [])
    assert [pod.name for pod in found.pods] == ["iris-7d9f8c6b5d-a"]


def test_what_it_could_not_decide_is_a_note():
    message = "not decided, because it needs an accelerator: libcuda.so.1"
    found = preflight(k8s.ended(message, code=0, reason="Completed"), **k8s.job_succeeded())
    assert preflight_note(found) == f"succeeded: {message}"
    assert preflight_note(preflight(k8s.ready())) == "running"


def test_the_newest_of_several_counts():
    older = {**JOB, "metadata": {**JOB["metadata"], "name": "iris-preflight-76543210"}}
    found = read_preflights(
        [k8s.job(JOB), k8s.job(older, created=k8s.LONG_AGO, **k8s.job_failed())], []
    )
    assert [each.state for each in found] == ["failed", "running"]
