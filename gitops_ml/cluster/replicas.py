"""The state of each pod, its problem and the remedy; of the pods of a preflight, what they mean for its release."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitops_ml.cluster.observed import (
    COMPUTE_UNAVAILABLE,
    ERROR,
    ERROR_IMAGE_PULL,
    ERROR_OUT_OF_MEMORY,
    ERROR_PREFLIGHT,
    UNKNOWN,
    UPDATING,
    Container,
    Ended,
    Observed,
    Pod,
    Preflight,
    Remedies,
    Status,
    reason_line,
    remedy_of,
)
from gitops_ml.system.clean_text import one_line

STALLED_AFTER = timedelta(minutes=10)
"""How long a pod may wait for a node; a new GPU node takes minutes."""
STARTS_WITHIN = timedelta(minutes=2)
"""How long a container may lack what it starts with: an operator may still create the Secret."""
_CRASHES = 2
"""Restarts after which a crash counts as permanent."""

_PULL = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
    *("RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"),
}
_PULL_GIVES_UP = {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CANNOT_START = {
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    *("PreCreateHookError", "PreStartHookError", "PostStartHookError", "ContainerCannotRun"),
}


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod and its state, with Cortex's names."""

    pod: Pod
    state: str
    """``ready``, ``ready (out of date)``, ``not ready``, ``pending``, ``creating``, ``image pull error``,
    ``failed``, ``out of memory``, ``stalled``, ``terminating`` or ``unknown``."""
    problem: Status | None = None


def replica_of(pod: Pod, *, wanted: str, now: datetime) -> Replica:
    """The state of the pod, and its problem if it has one."""
    if pod.is_terminating:
        return Replica(pod, "terminating")
    if pod.is_ready:
        return Replica(pod, "ready" if pod.deployment_id == wanted else "ready (out of date)")
    if pod.phase == "Failed":
        reason = reason_line(pod.reason, pod.message) or "the pod failed"
        return Replica(pod, "failed", Status(ERROR, reason, _EVICTED if pod.reason else ""))
    if pod.unschedulable is not None:
        return _unschedulable(pod, now=now)
    for container in pod.containers:
        if broken := _broken(pod, container, now=now):
            return broken
    if pod.phase == "Unknown":
        return Replica(pod, "unknown", Status(UNKNOWN, f"the node {pod.node} does not answer"))
    if any(container.waits_for for container in pod.containers) or pod.phase == "Pending":
        return Replica(pod, "creating" if pod.node else "pending")
    return Replica(pod, "not ready")


_COMPUTE_REMEDIES: Remedies = (
    (("insufficient nvidia.com", "insufficient amd.com", "insufficient gpu."), "every GPU is in use: wait, free one, "
     "or choose another compute.gpu_class"),
    (("insufficient",), "request less (compute.cpu, compute.mem), or add nodes"),
    (("taint", "affinity", "selector"), "no node fits the node selector and tolerations; check "
     "compute.node_groups and gpu_class"),
    (("",), "show this to an administrator of the cluster"),
)  # fmt: skip
_PULL_REMEDIES: Remedies = (
    (("not found", "manifest unknown", "does not exist"), "the registry does not have the image (any "
     "more): `gitops-ml deploy` builds it again"),
    (("unauthorized", "denied", "forbidden", "authentication"), "the cluster may not read the registry: "
     "name a Secret with its credentials in clusters.<name>.image_pull_secrets of gitops-ml.yaml"),
    (("no match for platform", "exec format"), "the image was built for another processor: set "
     "image.platform"),
    (("",), "check that the nodes can reach the registry"),
)  # fmt: skip
_EVICTED = "the node ran out of memory or disk; request as much as the predictor needs (compute)"


def _unschedulable(pod: Pod, *, now: datetime) -> Replica:
    waited = _age(pod, now)
    if waited < STALLED_AFTER:
        return Replica(pod, "pending")
    message = pod.unschedulable or ""
    problem = Status(
        COMPUTE_UNAVAILABLE,
        f"no node for {lasting(waited)}: {one_line(message)}",
        remedy_of(message, _COMPUTE_REMEDIES),
    )
    return Replica(pod, "stalled", problem)


def lasting(span: timedelta) -> str:
    """``90 seconds``, ``12 minutes``, ``5 hours``, ``3 days``."""
    seconds = round(span.total_seconds())
    for length, most, unit in ((1, 120, "seconds"), (60, 120, "minutes"), (3600, 48, "hours")):
        if seconds < length * most:
            return f"{round(seconds / length)} {unit}"
    return f"{round(seconds / 86400)} days"


def _age(pod: Pod, now: datetime) -> timedelta:
    return now - pod.created_at if pod.created_at is not None else timedelta()


def _broken(pod: Pod, container: Container, *, now: datetime) -> Replica | None:
    if container.is_ready:
        return None
    reason = container.waits_for
    if reason in _PULL:
        # The registry's message, without the image's name that the kubelet repeats before it.
        why = reason_line(reason, container.message.rpartition('": ')[2])
        problem = Status(
            ERROR_IMAGE_PULL,
            f"the image of {container.name} cannot be pulled: {why}",
            remedy_of(container.message, _PULL_REMEDIES),
            is_final=reason in _PULL_GIVES_UP,
        )
        return Replica(pod, "image pull error", problem)
    if reason in _CANNOT_START:
        line = reason_line(reason, container.message)
        problem = Status(
            ERROR,
            f"{container.name} cannot start: {line}",
            _start_remedy(line),
            is_final=_age(pod, now) >= STARTS_WITHIN,
        )
        return Replica(pod, "failed", problem)
    ended = container.ended
    is_down = reason == "CrashLoopBackOff" or (ended is not None and container.restarts > 0)
    if ended is None or not is_down or (ended.exit_code, ended.reason) == (0, "Completed"):
        return None
    return _crashed(pod, container, ended)


def _crashed(pod: Pod, container: Container, ended: Ended) -> Replica:
    is_final = container.restarts >= _CRASHES
    again = f", {container.restarts} times" if container.restarts > 1 else ""
    if ended.reason == "OOMKilled":
        problem = Status(
            ERROR_OUT_OF_MEMORY,
            f"{container.name} exceeded its memory limit and was killed{again}",
            _MEMORY.get(container.name, "raise compute.mem, or load a smaller model"),
            is_final=is_final,
        )
        return Replica(pod, "out of memory", problem)
    last = last_error(ended.message)
    problem = Status(
        ERROR,
        f"{container.name} ended with exit code {ended.exit_code}{again}{': ' + last if last else ''}",
        _log_remedy(container.name) + (_KILLED if ended.exit_code == 137 else ""),
        is_final=is_final,
    )
    return Replica(pod, "failed", problem)


_MEMORY = {"queue-proxy": "raise container.proxy.mem"}
"""By container, where another field has its memory."""


def _log_remedy(container: str) -> str:
    if container == "predictor":
        return "`gitops-ml logs` shows why"
    return f"the log of the container {container} shows why"


_KILLED = (
    "; exit code 137 is a kill from outside: by the kubelet, if probes were not answered in time "
    "(probes.startup)"
)


def _start_remedy(message: str) -> str:
    lower = message.lower()
    if "secret" in lower and "not found" in lower:
        return "create the Secret in this namespace, or correct `secrets` in the manifest"
    if "runasnonroot" in lower or "run as root" in lower:
        return "the image runs as root; set another user (container.run_as_user)"
    return "show this to an administrator of the cluster"


def last_error(log: str) -> str:
    """The last error in the end of a log, or its last line.

    A line of the runtime is JSON. The kubelet keeps 2 kB, so the first line may be cut.
    """
    last = ""
    for line in reversed([line.strip() for line in log.splitlines() if line.strip()]):
        text, is_error = _message_in(line)
        if is_error:
            return one_line(text)
        last = last or text
    return one_line(last)


_END_OF_TRACEBACK = re.compile(r'\\n((?:[^"\\]|\\[^n])*)"\}$')


def _message_in(line: str) -> tuple[str, bool]:
    """The message of a line of a log, and whether it may be an error."""
    if not line.endswith("}"):
        return line, True
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        cut = _END_OF_TRACEBACK.search(line)
        return (cut[1] if cut else line), True
    trace = str(fields.get("traceback") or "").strip()
    text = trace.splitlines()[-1] if trace else str(fields.get("message") or line)
    return text, bool(trace) or fields.get("level") in ("error", "critical")


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
