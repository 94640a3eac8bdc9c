"""The status of a release while a Job tries its image, before the Deployment changes, and after that failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gitops_ml.cluster.observed import (
    ERROR_OUT_OF_MEMORY,
    ERROR_PREFLIGHT,
    UPDATING,
    Ended,
    Observed,
    Preflight,
    Status,
)
from gitops_ml.cluster.replicas import last_error, replica_of
from gitops_ml.system.clean_text import one_line

_AGAIN = (
    "correct it and deploy again; `gitops-ml refresh` tries the same image again, and "
    "update_strategy.preflight: none leaves the preflight out"
)


def unfinished_preflight(seen: Observed, *, now: datetime) -> Status | None:
    """The status while the preflight runs or after it has failed; ``None`` where it does not hold up the release."""
    if seen.preflight is None or seen.preflight.state == "succeeded":
        return None
    runs = f"; {seen.workload.deployment_id} still runs" if seen.workload is not None else ""
    if seen.preflight.state == "failed":
        return _failed(seen.preflight, runs=runs)
    return _running(seen.preflight, runs=runs, now=now)


def _failed(preflight: Preflight, *, runs: str) -> Status:
    ended = _ended(preflight)
    if ended is not None and ended.reason == "OOMKilled":
        reason = f"the preflight exceeded its memory limit and was killed{runs}"
        remedy = "raise compute.mem, or load a smaller model"
        return Status(ERROR_OUT_OF_MEMORY, reason, remedy, is_final=True)
    why = one_line(preflight.message)
    if ended is not None:
        why = last_error(ended.message) or f"it ended with exit code {ended.exit_code}"
    reason = f"the preflight of the new image failed: {why}{runs}"
    return Status(ERROR_PREFLIGHT, reason, _AGAIN, is_final=True)


def _running(preflight: Preflight, *, runs: str, now: datetime) -> Status:
    """The status while it runs: what its pod waits for, if anything."""
    wanted = preflight.deployment_id or ""
    replicas = [replica_of(pod, wanted=wanted, now=now) for pod in preflight.pods]
    if (
        _ended(preflight) is not None
    ):  # the Job counts it as a failure, or tries again on another node
        return replace(_failed(preflight, runs=runs), is_final=False)
    for replica in replicas:
        if problem := replica.problem:
            reason = f"the preflight of the new image does not start: {problem.reason}{runs}"
            return Status(problem.state, reason, problem.remedy, is_final=problem.is_final)
    newest = replicas[-1] if replicas else None
    doing = "has no pod yet" if newest is None else "runs" if newest.state == "ready" else "starts"
    if newest is not None and newest.pod.unschedulable:
        doing = f"waits for a node (the scheduler: {one_line(newest.pod.unschedulable)})"
    return Status(UPDATING, f"the preflight of the new image {doing}{runs}")


def preflight_note(preflight: Preflight) -> str:
    """How it ended, or that it runs, in one line."""
    ended = _ended(preflight) or next(iter(_all_ended(preflight)), None)
    message = last_error(ended.message) if ended is not None else preflight.message
    return f"{preflight.state}: {one_line(message)}" if message else preflight.state


def _ended(preflight: Preflight) -> Ended | None:
    """How its newest container that failed ended."""
    failed = [each for each in _all_ended(preflight) if each.exit_code != 0]
    return failed[-1] if failed else None


def _all_ended(preflight: Preflight) -> list[Ended]:
    containers = [container for pod in preflight.pods for container in pod.containers]
    return [container.ended for container in containers if container.ended is not None]
