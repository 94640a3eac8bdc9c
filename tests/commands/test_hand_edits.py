"""An edit of the GitOps repository by hand is shown before a verb takes it back."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from tests.support.git_servers import commit_files, git
from tests.support.person import container_api

VALUES = "releases/staging/iris/values.yaml"


@pytest.fixture
def edited(ann):
    """Ann's release, in which somebody has changed a number of replicas."""
    ann.has(container_api("iris"), container_api("oak"))
    ann.deploys("-e", "staging")
    by_hand(ann, "maxReplicas: 5", "maxReplicas: 50")
    return ann


def by_hand(ann, before: str, after: str) -> None:
    text = ann.text(VALUES).replace(before, after)
    commit_files(ann.gitops, {VALUES: text})


SENTENCE = "autoscaling.maxReplicas: 50 becomes 5"


@pytest.mark.parametrize(
    "verb",
    [
        ("diff", "-e", "staging"),
        ("deploy", "-e", "staging", "--dry-run"),
        ("deploy", "-e", "staging"),
        ("patch", "iris", "-e", "staging", "--set", "compute.cpu=300m"),
        ("rollback", "iris", "-e", "staging"),
    ],
    ids=" ".join,
)
def test_every_verb_that_takes_an_edit_back_says_so(edited, verb):
    result = edited.runs(*verb)
    assert result.code == 0, result
    (line,) = (line for line in result.err.splitlines() if "edited by hand" in line)
    assert line.startswith(f"warning: {VALUES} was edited by hand (S, ")
    assert SENTENCE in line
    assert "oak" not in result.err


def test_the_pull_request_says_so(edited):
    result = edited.runs("deploy", "-e", "staging", "--pull-request")
    assert SENTENCE in result.err


def test_the_client_says_so_before_it_commits(edited):
    client = gml.client("staging", offline=True)
    with pytest.warns(UserWarning, match=SENTENCE):
        client.create_api(container_api("iris"), pull_request=False)


def test_a_verb_that_keeps_an_edit_says_nothing(edited):
    assert "by hand" not in edited.runs("refresh", "iris", "-e", "staging").err
    edited.has(container_api("iris", autoscaling={"max_replicas": 50}), container_api("oak"))
    assert "by hand" not in edited.runs("diff", "-e", "staging").err


def test_an_edit_that_a_person_reverted_is_none(edited):
    by_hand(edited, "maxReplicas: 50", "maxReplicas: 5")
    edited.has(container_api("iris", autoscaling={"max_replicas": 7}), container_api("oak"))
    result = edited.deploys("-e", "staging")
    assert "by hand" not in result.err


def test_the_fields_of_several_edits_are_all_named(edited):
    by_hand(edited, "cpu: 200m", "cpu: 4000m")
    result = edited.deploys("-e", "staging")
    assert "resources.cpu: '4000m' becomes '200m'" in result.err
    assert SENTENCE in result.err


def test_an_ordinary_change_is_no_edit(edited):
    edited.deploys("-e", "staging")
    edited.has(container_api("iris", autoscaling={"max_replicas": 7}), container_api("oak"))
    assert "by hand" not in edited.deploys("-e", "staging").err
    assert git("log", "--format=%an", "-1", "main", cwd=edited.gitops) == "Ann"


def test_every_edit_of_a_large_change_is_shown(ann):
    """Many releases are looked up together in the history of their environment, few one by one."""
    names = [f"api-{number}" for number in range(12)]
    ann.has(*(container_api(name) for name in names))
    ann.deploys("-e", "staging")
    for name in ("api-0", "api-11"):
        path = VALUES.replace("iris", name)
        text = ann.text(path).replace("maxReplicas: 5", "maxReplicas: 50")
        commit_files(ann.gitops, {path: text})
    ann.has(*(container_api(name, autoscaling={"max_replicas": 7}) for name in names))
    result = ann.deploys("-e", "staging")
    lines = [line for line in result.err.splitlines() if "edited by hand" in line]
    assert [line.split("/")[2] for line in lines] == ["api-0", "api-11"]
    assert all("autoscaling.maxReplicas: 50 becomes 7" in line for line in lines)


# -- other files than values -------------------------------------------------------------------------


def edits(ann, path: str, before: str, after: str) -> None:
    text = ann.text(path)
    assert before in text
    commit_files(ann.gitops, {path: text.replace(before, after)})


def test_an_edit_of_another_file_is_shown_as_well(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    edits(ann, "argocd/staging.yaml", "selfHeal: true", "selfHeal: false")
    edits(ann, "argocd/projects/ml.yaml", "  sourceRepos:", "  # ours\n  sourceRepos:")
    edits(ann, "releases/staging/iris/release.yaml", "namespace: ml-staging", "namespace: x")
    for verb in (("diff", "-e", "staging"), ("deploy", "-e", "staging")):
        result = ann.runs(*verb)
        lines = [line for line in result.err.splitlines() if "edited by hand (S, " in line]
        shown = {
            line.split()[1]: line.partition("takes it back: ")[2].partition(".")[0]
            for line in lines
        }
        assert shown == {
            "argocd/staging.yaml": "- selfHeal: false, + selfHeal: true",
            "argocd/projects/ml.yaml": "- # ours",
            "releases/staging/iris/release.yaml": "- namespace: x, + namespace: ml-staging",
        }
    assert "by hand" not in ann.deploys("-e", "staging").err


def test_an_edit_of_rendered_objects_is_shown(ann):
    ann.configures(gitops={"mode": "manifests"})
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    edits(ann, "releases/staging/iris/manifest.yaml", "maxReplicaCount: 5", "maxReplicaCount: 50")
    result = ann.deploys("-e", "staging")
    assert "- maxReplicaCount: 50, + maxReplicaCount: 5. To keep" in result.err


def test_what_a_merge_brought_is_no_edit(ann):
    """The message of a merge is the forge's."""
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris", labels={"a": "b"}))
    ann.configures(gitops={"argocd_namespace": "argo"})
    ann.runs("deploy", "-e", "staging", "--pull-request")
    clone = ann.checks_out()
    git(
        "merge",
        "-q",
        "--no-ff",
        "-m",
        "Merge it",
        "origin/gitops-ml/deploy/staging/iris",
        cwd=clone,
    )
    git("push", "-q", "origin", "main", cwd=clone)
    assert "argo" in ann.text("argocd/staging.yaml")
    ann.configures()
    ann.has(container_api("iris"))
    assert "by hand" not in ann.deploys("-e", "staging").err
