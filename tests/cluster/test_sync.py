"""What Argo CD says counts for the commit that is waited for, and for no other."""

from __future__ import annotations

import pytest

from gitops_ml.cluster.kubernetes_objects import read_application, read_application_set, read_pod
from gitops_ml.cluster.observed import ExpectedRemoval, Observed
from gitops_ml.cluster.status import removal_status, status_of
from tests.cluster.test_status import COMMIT, ID, NOW, SET, application, wanted, workload
from tests.support import controllers as k8s

OLDER, LATER = "0" * 40, "e" * 40
NO_KEDA = (
    "failed to discover server resources for group version keda.sh/v1alpha1: the server could not find "
    "the requested resource"
)
REACHED = frozenset({COMMIT, LATER})


def waited(status, *pods, id: str = ID, **how):
    """The status while the commit is waited for; the pods have the wanted id."""
    seen = Observed(
        application=application(id, **status),
        workload=workload(*(pods or [k8s.ready()])),
        reached=REACHED,
        **how,
    )
    return status_of(wanted(), seen, now=NOW)


@pytest.mark.parametrize("commit", [COMMIT, LATER])
def test_a_commit_that_contains_the_wanted_one_is_as_good(commit):
    assert waited(k8s.synced(commit)).state == "live"


def test_pods_of_the_wanted_id_are_not_enough():
    found = waited(k8s.synced(OLDER))
    assert (found.state, found.is_final) == ("updating", False)
    assert found.reason.startswith(f"Argo CD has not synced the commit {COMMIT[:12]} yet (Synced")


def test_objects_that_others_change_are_no_reason_to_wait():
    drifted = k8s.synced(COMMIT) | {"sync": {"status": "OutOfSync", "revision": COMMIT}}
    assert waited(drifted).state == "live"


def test_a_chart_that_argo_cd_does_not_render_yet_is_not_synced():
    assert waited(k8s.synced(COMMIT), has_source=False).state == "updating"


def test_a_switch_to_mode_chart_waits_for_the_new_source():
    """Argo CD reads the commit before the root has changed the ApplicationSet."""
    message = f"Skipping sync attempt to [{COMMIT}]: auto-sync will wipe out all resources"
    found = waited(k8s.synced(OLDER) | {"conditions": [{"type": "SyncError", "message": message}]})
    assert (found.state, found.is_final) == ("updating", False)


@pytest.mark.parametrize(
    "status",
    [
        k8s.sync_failed(OLDER, "Deployment", "iris", "quota"),
        k8s.failed_before(OLDER, NO_KEDA, compared=OLDER),
        k8s.retrying(OLDER, NO_KEDA, 4),
    ],
    ids=["operation", "condition", "retry"],
)
def test_failures_of_another_commit_do_not_count(status):
    found = waited(status)
    assert (found.state, found.is_final) == ("updating", False)


def test_an_operation_of_another_commit_that_still_retries_is_named():
    found = waited(k8s.retrying(OLDER, NO_KEDA, 4))
    assert found.reason.startswith(f"Argo CD is still busy with the commit {OLDER[:12]}: {NO_KEDA}")
    assert "argocd app terminate-op iris-staging" in found.remedy


def test_a_failure_of_an_earlier_comparison_does_not_count():
    broken = k8s.comparison_error("failed to generate manifest", since=k8s.LONG_AGO)
    assert waited(broken, has_compared=False).state == "updating"
    assert waited(broken).state == "error (sync)"


@pytest.mark.parametrize(("attempt", "is_final"), [(1, False), (2, True), (4, True)])
def test_a_sync_that_fails_again_and_again_is_certain_at_the_second_attempt(attempt, is_final):
    found = waited(k8s.retrying(COMMIT, NO_KEDA, attempt))
    assert (found.state, found.is_final) == ("error (sync)", is_final)
    assert found.reason == f"Argo CD could not apply {COMMIT[:12]}: {NO_KEDA}"
    assert found.remedy.startswith("install KEDA's CRDs")


def test_what_the_next_attempt_may_not_meet_is_no_error_yet():
    busy = "Internal error occurred: failed calling webhook: connection refused"
    assert waited(k8s.retrying(COMMIT, busy, 4)).state == "updating"
    assert waited(k8s.sync_failed(COMMIT, "ScaledObject", "iris", busy)).is_final


def test_a_failed_sync_of_the_commit_ends_even_where_the_pods_are_well():
    found = waited(k8s.failed_before(COMMIT, "boom", compared=COMMIT))
    assert (found.state, found.is_final) == ("error (sync)", True)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("ScaledObject/iris: resource keda.sh:ScaledObject is not permitted in project ml", "AppProject"),
        ('namespaces "ml-staging" not found', "create the namespace"),
        ("exceeded quota: team, requested: cpu=4", "request less"),
        ('admission webhook "policy" denied the request: no', "a policy of the cluster refuses it"),
        ("failed to list refs: dial tcp 10.0.0.1:443: i/o timeout", "cannot reach the GitOps repository"),
        ("Failed to load application project: application project ml is not found", "argocd/projects/"),
        ("Failed to generate manifest: helm template failed: values don't meet the schema", "not valid"),
        ("something new", "administrator of Argo CD"),
    ],
)  # fmt: skip
def test_each_cause_has_its_remedy(message, remedy):
    assert remedy in waited(k8s.failed_before(COMMIT, message, compared=COMMIT)).remedy


def test_an_application_set_that_makes_no_application_says_why():
    item = {"metadata": {"name": "gitops-ml-staging", "namespace": "argocd"}}
    words = "application references project ml which does not exist"
    broken = read_application_set(k8s.application_set_error(item, words))
    found = status_of(wanted(), Observed(application_set=broken, reached=REACHED), now=NOW)
    assert found.state == "error (sync)"
    assert words in found.reason
    assert "argocd/projects/" in found.remedy


# -- removals --------------------------------------------------------------------------------------

GOING = ExpectedRemoval("iris", "staging", "ml-staging", ())


def going(**metadata):
    item = k8s.application(SET, {"name": "iris", "environment": "staging", "deployment_id": ID})
    item["metadata"] |= metadata
    return read_application(item)


def pod():
    deployment = {"metadata": {"name": "iris", "namespace": "ml-staging"},
                  "spec": {"template": {"metadata": {"labels": {}}, "spec": {}}}}  # fmt: skip
    return read_pod(k8s.pod(deployment, **k8s.ready()))


@pytest.mark.parametrize(
    ("found", "pods", "word", "reason"),
    [
        (going(), 1, "deleting", "Argo CD has not noticed the removal of iris yet, 1 pod left"),
        (going(deletionTimestamp=k8s.NOW), 2, "deleting", "Argo CD deletes its objects, 2 pods left"),
        (None, 1, "deleting", "Argo CD has deleted its Application, 1 pod left"),
        (None, 0, "gone", ""),
    ],
)  # fmt: skip
def test_a_removal_ends_with_the_last_pod(found, pods, word, reason):
    status = removal_status(GOING, found, [pod()] * pods)
    assert (status.state, status.reason) == (word, reason)
