"""From what controllers and kubelets write to a status with its reason and its remedy."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from gitops_ml.cluster.kubernetes_objects import read_application, read_time
from gitops_ml.cluster.observed import CODES, ExpectedRelease, Observed, Status
from gitops_ml.cluster.replicas import last_error, lasting, replica_of
from gitops_ml.cluster.status import is_up_to_date, notes_on, status_of
from tests.support import controllers as k8s
from tests.support.workloads import read_workloads

ID, OLD, COMMIT = "iris-111111111111", "iris-000000000000", "c" * 40
NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
LABELS = {"gitops-ml.dev/api": "iris", "gitops-ml.dev/environment": "staging"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "iris", "namespace": "ml-staging", "labels": LABELS},
    "spec": {
        "template": {
            "metadata": {"labels": {**LABELS, "gitops-ml.dev/deployment-id": ID}},
            "spec": {"containers": [{"name": "predictor"}]},
        }
    },
}
SCALED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "iris", "namespace": "ml-staging", "labels": LABELS},
    "spec": {"scaleTargetRef": {"name": "iris"}, "minReplicaCount": 1, "maxReplicaCount": 5},
}
SET = {
    "metadata": {"namespace": "argocd"},
    "spec": {
        "template": {
            "metadata": {
                "name": "{{ .name }}-{{ .environment }}",
                "labels": {"gitops-ml.dev/api": "{{ .name }}", "gitops-ml.dev/environment": "{{ .environment }}"},
                "annotations": {"gitops-ml.dev/deployment-id": "{{ .deployment_id }}"},
            }
        }
    },
}  # fmt: skip


def wanted(commit: str | None = COMMIT) -> ExpectedRelease:
    return ExpectedRelease("iris", "staging", ID, commit)


def application(id: str = ID, **status):
    facts = {"name": "iris", "environment": "staging", "deployment_id": id}
    return read_application(k8s.application(SET, facts, **status))


def workload(*statuses, replicas: int | None = None, old: bool = False, scaled=None, **how):
    """The Deployment with a pod for each status; ``old`` is one that Git does not want any more."""
    deployment = k8s.deployed(
        DEPLOYMENT, replicas=len(statuses) if replicas is None else replicas, **how
    )
    pods = [k8s.pod(deployment, f"pod{n}", **status) for n, status in enumerate(statuses)]
    if old:
        deployment["spec"]["template"]["metadata"]["labels"] = {
            **LABELS, "gitops-ml.dev/deployment-id": OLD,
        }  # fmt: skip
    (found,) = read_workloads([deployment], pods, [scaled or k8s.scaled(SCALED)])
    return found


def of(*statuses, **how) -> Status:
    """The status of a release that Argo CD has synced, with these pods."""
    seen = Observed(
        application=application(**k8s.synced(COMMIT)), workload=workload(*statuses, **how)
    )
    return status_of(wanted(), seen, now=NOW)


NO_GPU = "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: }, 2 Insufficient nvidia.com/gpu."
TRACEBACK = (
    "Traceback (most recent call last):\n  File \"/app/predictor.py\", line 4\nKeyError: 'model'"
)


# -- pods ------------------------------------------------------------------------------------------


def test_enough_ready_replicas_of_what_git_wants_are_live():
    assert of(k8s.ready(), k8s.ready()) == Status("live")


def test_no_replica_is_live_where_none_is_asked_for():
    assert of(replicas=0) == Status("live", "it sleeps until the next request")


def test_the_least_that_is_needed_is_live_while_more_come():
    assert of(k8s.ready(), k8s.starting()) == Status(
        "live", "1 of 2 replicas are ready, more are coming"
    )


def test_replicas_that_start_are_updating():
    assert of(k8s.starting(), k8s.waiting("ContainerCreating")) == Status(
        "updating", "0 of 2 replicas are ready, the others: creating, not ready"
    )


def test_ready_replicas_of_the_version_before_do_not_count():
    deployment = k8s.deployed(DEPLOYMENT)
    pods = [
        k8s.pod(deployment, "new", **k8s.starting()),
        k8s.pod(deployment, "old", deployment_id=OLD, **k8s.ready()),
    ]
    (found,) = read_workloads([deployment], pods, [])
    seen = Observed(application=application(**k8s.synced(COMMIT)), workload=found)
    assert status_of(wanted(), seen, now=NOW).state == "updating"
    states = [replica_of(pod, wanted=ID, now=NOW).state for pod in found.pods]
    assert sorted(states) == ["not ready", "ready (out of date)"]


def test_counts_of_a_version_that_kubernetes_has_not_looked_at_do_not_count():
    assert of(k8s.ready(), observed=False) == Status(
        "updating", "Kubernetes has not processed the new version yet"
    )


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("not found", "the registry does not have the image (any more): `gitops-ml deploy` builds it again"),
        (
            "failed to authorize: 401 Unauthorized",
            "the cluster may not read the registry: name a Secret with its credentials in "
            "clusters.<name>.image_pull_secrets of gitops-ml.yaml",
        ),
        ("no match for platform in manifest", "the image was built for another processor: set image.platform"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "check that the nodes can reach the registry"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_pulled_names_the_registrys_reason(why, remedy):
    found = of(k8s.pull_backs_off(why))
    assert (found.state, found.remedy, found.is_final) == ("error (image pull)", remedy, True)
    assert found.reason == f"the image of predictor cannot be pulled: ImagePullBackOff: {why}"


def test_the_first_pull_that_fails_is_not_the_end():
    assert not of(k8s.waiting("ErrImagePull", "connection reset by peer")).is_final


def test_a_crash_names_the_exit_code_and_the_last_line_of_the_traceback():
    assert of(k8s.crashes(TRACEBACK, restarts=3)) == Status(
        "error",
        "predictor ended with exit code 1, 3 times: KeyError: 'model'",
        "`gitops-ml logs` shows why",
        is_final=True,
    )


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("OOMKilled", "raise container.proxy.mem"),
        ("Error", "the log of the container queue-proxy shows why"),
    ],
)
def test_a_proxy_that_crashes_names_its_own_memory_and_its_own_log(reason, remedy):
    status = k8s.crashes("", restarts=3, reason=reason)
    (container,) = status["containerStatuses"]
    found = of({**status, "containerStatuses": [{**container, "name": "queue-proxy"}]})
    assert (found.remedy, "queue-proxy" in found.reason) == (remedy, True)


def test_the_first_crash_may_be_an_accident():
    assert not of(k8s.crashes("", restarts=1)).is_final


def test_a_kill_by_the_kubelet_has_another_remedy_than_a_crash():
    found = of(k8s.crashes("", restarts=2, code=137))
    assert found.state == "error"
    assert "if probes were not answered in time" in found.remedy


def test_a_container_that_was_killed_for_its_memory_is_out_of_memory():
    assert of(k8s.crashes("", restarts=2, code=137, reason="OOMKilled")) == Status(
        "error (out of memory)",
        "predictor exceeded its memory limit and was killed, 2 times",
        "raise compute.mem, or load a smaller model",
        is_final=True,
    )


def test_a_replica_that_recovered_from_a_crash_is_ready():
    status = k8s.ready()
    status["containerStatuses"][0] |= {
        "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": k8s.BEFORE}},
    }
    assert of(status) == Status("live")


@pytest.mark.parametrize(("minutes", "is_final"), [(1, False), (3, True)])
def test_a_secret_that_is_not_there_is_named_and_ends_a_wait_in_time(minutes, is_final):
    """An operator may still create it, so a new pod is given two minutes."""
    created = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = k8s.waiting("CreateContainerConfigError", 'secret "fraud-keys" not found')
    deployment = k8s.deployed(DEPLOYMENT, replicas=1)
    pod = k8s.pod(deployment, "pod", created=created, **status)
    (found,) = read_workloads([deployment], [pod], [k8s.scaled(SCALED)])
    seen = Observed(application=application(**k8s.synced(COMMIT)), workload=found)
    assert status_of(wanted(), seen, now=NOW) == Status(
        "error",
        'predictor cannot start: CreateContainerConfigError: secret "fraud-keys" not found',
        "create the Secret in this namespace, or correct `secrets` in the manifest",
        is_final=is_final,
    )


def test_a_pod_that_was_evicted_says_what_the_node_lacked():
    found = of(k8s.evicted())
    assert (found.state, found.reason.partition(".")[0]) == (
        "error",
        "Evicted: The node was low on resource: memory",
    )


def test_a_pod_without_a_node_is_updating_with_the_schedulers_message_and_then_stalled():
    assert of(k8s.unschedulable(NO_GPU)) == Status(
        "updating", f"0 of 1 replicas are ready, the others: pending (the scheduler: {NO_GPU})"
    )
    deployment = k8s.deployed(DEPLOYMENT)
    pod = k8s.pod(deployment, created=k8s.LONG_AGO, **k8s.unschedulable(NO_GPU))
    (found,) = read_workloads([deployment], [pod], [])
    assert status_of(wanted(), Observed(workload=found), now=NOW) == Status(
        "compute unavailable",
        f"no node for 30 minutes: {NO_GPU}",
        "every GPU is in use: wait, free one, or choose another compute.gpu_class",
    )


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("2 Insufficient nvidia.com/mig-1g.5gb.", "every GPU is in use"),
        ("3 Insufficient cpu, 2 node(s) had untolerated taint {nvidia.com/gpu: present}.", "request less"),
        ("2 node(s) had untolerated taint {nvidia.com/gpu: present}.", "no node fits the node selector"),
    ],
)  # fmt: skip
def test_a_gpu_is_missing_only_where_the_pod_asks_for_one(message, remedy):
    deployment = k8s.deployed(DEPLOYMENT)
    pod = k8s.pod(deployment, created=k8s.LONG_AGO, **k8s.unschedulable(message))
    (found,) = read_workloads([deployment], [pod], [])
    status = status_of(wanted(), Observed(workload=found), now=NOW)
    assert status.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (442_800, "5 days"),
    ],
)
def test_a_time_has_the_unit_that_is_read_at_a_glance(seconds, text):
    assert lasting(timedelta(seconds=seconds)) == text


def test_what_is_broken_comes_before_what_is_slow():
    statuses = [k8s.starting(), k8s.pull_backs_off("not found"), k8s.crashes("", restarts=2)]
    assert of(*statuses).state == "error (image pull)"


def test_a_quota_keeps_kubernetes_from_making_pods():
    found = of(replicas=1, conditions=(k8s.quota_exceeded(),))
    assert (found.state, found.is_final) == ("error", True)
    assert "exceeded quota: team" in found.reason
    assert (
        found.remedy == "request less (compute, max_replicas), or raise the quota of the namespace"
    )


def test_a_rollout_that_takes_too_long_has_failed():
    found = of(k8s.starting(), conditions=(k8s.too_late(),))
    assert (found.state, found.reason, found.is_final) == (
        "error", "the new replicas did not become ready in time", True,
    )  # fmt: skip


# -- Argo CD ---------------------------------------------------------------------------------------


def seen(status, *, id: str = ID, **how) -> Observed:
    return Observed(application=application(id, **status), **how)


def test_without_an_application_it_is_pending_and_says_what_an_administrator_does():
    found = status_of(wanted(), Observed(), now=NOW)
    assert (found.state, found.is_final) == ("pending", False)
    assert "bootstrap/root.yaml" in found.remedy


def test_what_runs_meanwhile_is_named():
    found = status_of(
        wanted(), seen(k8s.out_of_sync("d" * 40), workload=workload(k8s.ready(), old=True)), now=NOW
    )
    assert found.state == "updating"
    assert found.reason == (
        f"Argo CD has not synced the commit {COMMIT[:12]} yet (OutOfSync, Healthy); {OLD} still runs"
    )


def test_a_running_sync_says_what_it_waits_for():
    assert status_of(wanted(), seen(k8s.syncing(COMMIT)), now=NOW) == Status(
        "updating", "Argo CD is syncing: waiting for healthy state of apps/Deployment/iris"
    )


REFUSAL = "resource keda.sh:ScaledObject is not permitted in project ml"


def test_an_object_that_argo_cd_cannot_apply_is_named_with_the_refusal():
    failed = k8s.sync_failed(COMMIT, "ScaledObject", "iris", REFUSAL)
    found = status_of(wanted(), seen(failed), now=NOW)
    assert found == Status(
        "error (sync)",
        f"Argo CD could not apply cccccccccccc: ScaledObject/iris: {REFUSAL}",
        "Argo CD's AppProject of the team is older than the release: the root syncs it from "
        "argocd/projects/ of the GitOps repository, once an administrator has applied "
        "bootstrap/root.yaml",
        is_final=True,
    )


def test_a_failed_sync_of_an_older_deployment_says_nothing_about_this_one():
    failed = k8s.sync_failed("d" * 40, "Deployment", "iris", "quota exceeded")
    assert status_of(wanted(), seen(failed, id=OLD), now=NOW).state == "updating"


def test_a_repository_that_argo_cd_cannot_read_is_an_error():
    words = "Failed to load target state: authentication required: Repository not found."
    found = status_of(wanted(), seen(k8s.comparison_error(words, since=k8s.NOW)), now=NOW)
    assert (found.state, found.is_final) == ("error (sync)", False)
    assert "credentials for the GitOps repository" in found.remedy


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (k8s.synced(COMMIT), "live"),
        (k8s.synced(COMMIT, health="Progressing"), "updating"),
        (k8s.synced(COMMIT, health="Degraded", message="exceeded its progress deadline"), "error"),
        (k8s.out_of_sync(COMMIT), "updating"),
        (k8s.sync_failed(COMMIT, "Service", "iris", "forbidden"), "error (sync)"),
    ],
)
def test_argo_cds_word_counts_where_the_pods_cannot_be_looked_at(status, word):
    assert status_of(wanted(), seen(status, sees_workloads=False), now=NOW).state == word


def test_where_nothing_can_be_looked_at_nothing_is_known():
    blind = Observed(sees_applications=False, sees_workloads=False)
    assert status_of(wanted(), blind, now=NOW).state == "unknown"
    assert is_up_to_date(wanted(), blind) is None


def test_pods_alone_are_enough_where_applications_cannot_be_looked_at():
    found = Observed(workload=workload(k8s.ready()), sees_applications=False)
    assert status_of(wanted(), found, now=NOW) == Status("live")
    assert is_up_to_date(wanted(), found) is True


# -- notes and codes -------------------------------------------------------------------------------


def test_an_autoscaler_that_is_broken_is_a_note_and_not_a_status():
    broken = k8s.scaled(
        SCALED,
        Ready=("False", "ScaledObjectCheckFailed", "error parsing prometheus metadata"),
        Fallback=("True", "FallbackExists", "At least one trigger is falling back"),
    )
    found = Observed(workload=workload(k8s.ready(), scaled=broken))
    assert status_of(wanted(), found, now=NOW).state == "live"
    assert notes_on(found) == (
        "the autoscaler does not work: ScaledObjectCheckFailed: error parsing prometheus metadata",
        "KEDA cannot read its metrics and keeps the fallback number of replicas: FallbackExists: "
        "At least one trigger is falling back",
    )


TOLD = '{"level":"error","message":"failed to load","traceback":"Traceback:\\n  File \\"p.py\\"\\nKeyError: 1"}'
STOPPED = '{"level":"info","message":"stopped"}'


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ('{"level": "error", "message": "no model"}\n', "no model"),
        (f"{TOLD}\n{STOPPED}\n", "KeyError: 1"),
        (f"{TOLD[60:]}\n{STOPPED}\n", "KeyError: 1"),
        (STOPPED, "stopped"),
        ("plain\nlast\n\n", "last"),
        ("", ""),
        ("{not json}", "{not json}"),
    ],
)
def test_the_last_error_of_a_log_is_its_last_error_or_its_last_line(log, message):
    assert last_error(log) == message


def test_every_word_has_a_code():
    assert all(Status(word).code == code for word, code in CODES.items())


def test_kubernetes_times_are_read_in_each_of_its_shapes():
    moment = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
    assert read_time("2026-11-25T12:00:00Z") == moment
    assert read_time("2026-11-25T12:00:00.123456789Z") == moment
    assert read_time(None) is None
