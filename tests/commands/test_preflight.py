"""A preflight that failed, as `get`, `describe`, `logs` and `--wait` report it."""

from __future__ import annotations

import pytest

from gitops_ml.errors import NotLive
from tests.commands.test_waiting import waited
from tests.support import controllers as k8s
from tests.support.kubernetes_server import Log
from tests.support.person import predictor_api

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
