"""The two modes of a GitOps repository: Helm values for Argo CD to render, or the objects themselves."""

from __future__ import annotations

import pytest
import yaml

from tests.support.git_servers import commit_files, git
from tests.support.helm_program import by_identity, helm_template
from tests.support.person import NO_REGISTRY, container_api, predictor_api

pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")

ROSES = "releases/staging/roses/manifest.yaml"
MANIFESTS = ("releases/production/iris/manifest.yaml", "releases/staging/iris/manifest.yaml")


def chart_mode(ann):
    ann.configures()


def manifests_mode(ann):
    ann.configures(gitops={"mode": "manifests"})


def application(ann, environment="staging"):
    return ann.yaml(f"argocd/{environment}.yaml")["spec"]["template"]


def test_both_modes_deploy_the_same_objects(ann):
    ann.has(container_api("iris"), predictor_api("answer"))
    manifests_mode(ann)
    ann.deploys(*NO_REGISTRY)
    files = ann.checks_out()
    for name in ("iris", "answer"):
        for environment in ("staging", "production"):
            text = (files / f"releases/{environment}/{name}/manifest.yaml").read_text()
            written = by_identity(yaml.safe_load_all(text))
            namespace = f"ml-{environment}"
            assert written == helm_template(files, name, environment, namespace=namespace)


def test_helm_makes_of_the_gitops_repository_what_render_shows(ann):
    """What an ops team without gitops-ml sees is what the reviewer saw."""
    ann.has(predictor_api("answer", monitoring={"model_type": "regression"}))
    ann.deploys(*NO_REGISTRY)
    shown = ann.runs("render", "--manifests", "-e", "production", *NO_REGISTRY[:1])
    assert by_identity(yaml.safe_load_all(shown.out)) == helm_template(
        ann.checks_out(), "answer", "production", namespace="ml-production"
    )


def test_switching_to_manifests_adds_them_and_changes_the_source_of_the_applications(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    before = application(ann)
    manifests_mode(ann)
    ann.deploys()

    assert ann.touched() == ["argocd/production.yaml", "argocd/staging.yaml", *MANIFESTS]
    after = application(ann)
    changed = {key for key in after["spec"] if after["spec"][key] != before["spec"][key]}
    assert (after["metadata"], changed) == (before["metadata"], {"source"})


def test_switching_back_leaves_no_manifest_behind(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    before = git("rev-parse", "main^{tree}", cwd=ann.gitops)
    manifests_mode(ann)
    ann.deploys()
    chart_mode(ann)
    result = ann.deploys()

    assert "2 modified, 2 deleted" in result.out
    assert git("rev-parse", "main^{tree}", cwd=ann.gitops) == before


def test_a_stale_manifest_is_shown_by_diff_as_well(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    chart_mode(ann)
    changes = ann.runs("diff", "-o", "json", "-e", "staging", "-e", "production").json["changes"]
    assert [c["path"] for c in changes if c["action"] == "delete"] == list(MANIFESTS)


def test_a_manifest_that_somebody_edited_is_put_right(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    right = ann.text(MANIFESTS[0])
    commit_files(ann.gitops, {MANIFESTS[0]: right.replace("maxReplicaCount: 5", "x: 6")})
    ann.deploys()
    assert (ann.text(MANIFESTS[0]), ann.touched()) == (right, [MANIFESTS[0]])


def test_the_switch_carries_along_what_is_not_deployed_with_it(ann):
    """Argo CD would find nothing to sync for it."""
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    manifests_mode(ann)
    ann.deploys("-e", "staging", "--api", "iris")
    assert ann.touched() == ["argocd/staging.yaml", MANIFESTS[1], ROSES]
    assert ann.deploys("-e", "staging").out == "nothing to change\n"


def test_a_release_that_lost_its_manifest_gets_it_with_the_next_deploy_of_another(ann):
    ann.has(container_api("iris"), container_api("roses"))
    manifests_mode(ann)
    ann.deploys("-e", "staging")
    right = ann.text(ROSES)
    commit_files(ann.gitops, {ROSES: None})
    result = ann.deploys("-e", "staging", "--api", "iris")
    assert (ann.touched(), ann.text(ROSES)) == ([ROSES], right)
    assert f"{ROSES} was missing, and Argo CD syncs nothing else" in result.err


def test_deploying_again_in_mode_manifests_changes_nothing(ann):
    ann.has(container_api("iris"))
    manifests_mode(ann)
    ann.deploys()
    assert ann.deploys().out == "nothing to change\n"
