"""`gitops-ml diff --live`: Git, Argo CD and the cluster, and who changed what."""

from __future__ import annotations

import copy

import pytest

from gitops_ml.cluster.cluster_facts import KINDS
from tests.support import controllers as k8s
from tests.support.managed_fields import applied, entry
from tests.support.person import container_api

pytest.importorskip("helm_python")

LATER = "2026-11-25T11:58:00Z"


@pytest.fixture
def synced(life):
    """Iris as Argo CD applied it: every object of the chart, but for the preflight's."""
    life.deploys(container_api("iris", autoscaling={"min_replicas": 2, "max_replicas": 5}))
    life.syncs()
    rendered = life.ann.runs("render", "--offline", "--manifests", "-e", "staging", "-o", "json")
    (objects,) = rendered.json["objects"].values()
    life.server.has(*(applied(item) for item in objects if item["kind"] in KINDS))
    return life


def live(life, kind: str):
    (item,) = [each for key, each in life.server.objects.items() if each["kind"] == kind]
    return item


def edits(life, kind: str, fields, manager: str, *, at: str = LATER, subresource=None) -> None:
    """Somebody changes fields of an object; items of lists by name."""
    item = live(life, kind)
    _put(item, fields)
    item["metadata"]["managedFields"].append(entry(manager, fields, at=at, subresource=subresource))


def _put(node, fields) -> None:
    for key, value in fields.items():
        if isinstance(value, dict):
            _put(node.setdefault(key, {}), value)
        elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
            mine = {each["name"]: each for each in node.setdefault(key, [])}
            for each in value:
                if each["name"] in mine:
                    _put(mine[each["name"]], each)
                else:
                    node[key].append(copy.deepcopy(each))
        else:
            node[key] = value


def differences(life, *words: str):
    result = life.ann.runs("diff", "--live", "-e", "staging", "-o", "json", *words)
    assert result.code == 0, result
    return [
        (each["kind"], each["path"], each["git"], each["live"], each["owner"], each["expected"])
        for release in result.json["releases"]
        for each in release["differences"]
    ]


def may_patch(life) -> None:
    for group_version, plural in KINDS.values():
        life.server.rights.add((group_version.rpartition("/")[0], plural, "patch"))
    life.server.rights.add(("", "configmaps", "list"))


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_release_as_in_git_has_no_difference(synced, dry_run):
    if dry_run:
        may_patch(synced)
    result = synced.ann.runs("diff", "--live", "-e", "staging", "--exit-code")
    assert result.code == 0, result
    head = f"iris in staging (Argo CD: Synced at {synced.ann.head()[:12]})"
    assert result.out.splitlines() == [head, "the cluster is as in Git"]
    assert ("no dry run" in result.err) != dry_run


def test_an_environment_without_a_release_is_not_called_equal(ann):
    ann.has(container_api("iris"))
    result = ann.runs("diff", "--live", "-e", "staging")
    assert (result.code, result.out) == (0, "")
    assert "Git has no release of the project in staging: nothing is compared there" in result.err


@pytest.mark.parametrize("dry_run", [True, False])
def test_each_difference_names_who_made_it(synced, dry_run):
    if dry_run:
        may_patch(synced)
    container = {"name": "predictor", "resources": {"limits": {"memory": "9Gi"}}}
    edits(
        synced,
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        "kubectl-edit",
    )
    edits(synced, "ScaledObject", {"spec": {"maxReplicaCount": 50}}, "kubectl-patch")
    edits(synced, "Service", {"metadata": {"labels": {"mesh": "on"}}}, "some-mesh-controller")
    assert differences(synced) == [
        (
            "Deployment", "spec.template.spec.containers[predictor].resources.limits.memory", "1Gi", "9Gi",
            "kubectl edit", False,
        ),
        ("ScaledObject", "spec.maxReplicaCount", 5, 50, "kubectl patch", False),
        ("Service", "metadata.labels.mesh", None, "on", "some-mesh-controller", True),
    ]  # fmt: skip
    result = synced.ann.runs("diff", "--live", "-e", "staging", "--exit-code")
    assert result.code == 7
    assert "    ~ spec.maxReplicaCount: 5 -> 50 (kubectl patch, " in result.out
    assert result.out.splitlines()[-1] == "2 differences between Git and the cluster"


@pytest.mark.parametrize(
    ("manager", "subresource", "owner", "expected"),
    [
        ("kube-controller-manager", "scale", "the HorizontalPodAutoscaler", True),
        ("keda", None, "KEDA", True),
        ("kubectl", "scale", "kubectl scale", False),
        ("kubectl-scale", "scale", "kubectl scale", False),
        ("Mozilla", None, "Mozilla", False),
    ],
)
def test_replicas_belong_to_the_autoscaler_and_not_to_people(
    synced, manager, subresource, owner, expected
):
    edits(synced, "Deployment", {"spec": {"replicas": 4}}, manager, subresource=subresource)
    assert differences(synced) == [("Deployment", "spec.replicas", None, 4, owner, expected)]
    result = synced.ann.runs("diff", "--live", "-e", "staging", "--exit-code")
    assert result.code == (0 if expected else 7)


def test_what_people_add_is_shown_by_field(synced):
    variable = {"name": "DEBUG", "value": "1"}
    container = {"name": "predictor", "env": [variable]}
    edits(
        synced,
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        "kubectl-edit",
    )
    path = "spec.template.spec.containers[predictor].env[DEBUG].value"
    assert differences(synced) == [("Deployment", path, None, "1", "kubectl edit", False)]


def test_the_bookkeeping_of_controllers_is_no_difference(synced):
    revision = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3"}}}
    edits(synced, "Deployment", revision, "kube-controller-manager")
    edits(
        synced,
        "Deployment",
        {"status": {"replicas": 2}},
        "kube-controller-manager",
        subresource="status",
    )
    edits(synced, "ScaledObject", {"metadata": {"finalizers": ["finalizer.keda.sh"]}}, "keda")
    tracking = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "iris"}}}
    edits(synced, "Service", tracking, "argocd-controller")
    may_patch(synced)
    assert differences(synced) == []


def test_objects_that_only_one_side_has_are_named(synced):
    synced.server.loses("Service")
    extra = applied(copy.deepcopy(live(synced, "ServiceAccount")), "kubectl-create")
    extra["metadata"]["name"] = "iris-by-hand"
    synced.server.has(extra)
    result = synced.ann.runs("diff", "--live", "-e", "staging", "--exit-code")
    assert result.code == 7
    assert "  - Service/iris: in Git only" in result.out
    assert (
        "  + ServiceAccount/iris-by-hand: in the cluster, and not in Git (kubectl create"
        in result.out
    )


def test_a_release_that_git_has_no_more_is_left_over(synced):
    synced.ann.has(container_api("roses"))
    for item in list(synced.server.objects.values()):
        if item["kind"] == "Service":
            old = copy.deepcopy(item)
            old["metadata"] |= {"name": "old"}
            old["metadata"]["labels"] = {**old["metadata"]["labels"], "gitops-ml.dev/api": "old"}
            synced.server.has(old)
    result = synced.ann.runs("diff", "--live", "-e", "staging")
    assert "old in staging (Argo CD: no Application)" in result.out
    assert "+ Service/old: in the cluster, and not in Git" in result.out


def test_what_argo_cd_says_is_shown_and_what_cannot_be_read_is_said(synced):
    synced.argo_cd_says(k8s.synced("f" * 40))
    synced.server.forbidden |= {"networkpolicies"}
    result = synced.ann.runs("diff", "--live", "-e", "staging")
    assert "(Argo CD: Synced at ffffffffffff)" in result.out
    assert "NetworkPolicy objects are not compared: an administrator of the cluster" in result.err
    assert "--clusterrole=gitops-ml-drift-reader" in result.err
    assert (
        "ConfigMap objects are not compared: the roles of gitops-ml do not include them"
        in result.err
    )
    for item in synced.server.objects.values():
        if item["kind"] == "Application":
            item["status"]["resources"] = [
                {"kind": kind, "name": "iris", "status": "OutOfSync"}
                for kind in ("ConfigMap", "Deployment")
            ]
    result = synced.ann.runs("diff", "--live", "-e", "staging", "--exit-code")
    assert result.code == 7
    assert "  ~ ConfigMap/iris: not as in Git, by Argo CD's comparison\n" in result.out
    assert "1 difference between" in result.out
    synced.server.forbidden |= {"applications"}
    blind = synced.ann.runs("diff", "--live", "-e", "staging")
    assert "what Argo CD says is not known" in blind.err


def test_an_object_that_the_server_would_not_accept_is_named(synced):
    may_patch(synced)
    synced.server.refuses["iris"] = "spec.selector: field is immutable"
    result = synced.ann.runs("diff", "--live", "-e", "staging")
    assert "Deployment/iris of Git is not accepted" in result.err
    assert "field is immutable" in result.err


def test_options_that_mean_something_else_are_refused(synced):
    result = synced.ann.runs("diff", "--live", "--manifests")
    assert result.code == 2
    assert "leave PATH, --manifests and --offline out" in result.err
    unknown = synced.ann.runs("diff", "--live", "-e", "staging", "-a", "irsi")
    assert "there is no release of 'irsi'; did you mean 'iris'?" in unknown.err
