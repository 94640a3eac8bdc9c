"""`gitops-ml history` and `trace`: what they show of deployments, however they got to the branch."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.git.repository import GitRepository
from tests.support.git_servers import bare_repository, commit_files, git
from tests.support.person import DIGEST, Person, container_api


def deployments(ann: Person, *arguments: str) -> list[tuple[str, str, str]]:
    """Environment, id and action of each row, the newest first."""
    result = ann.runs("history", *arguments, "--limit", "0", "--output", "json")
    assert result.code == 0, result
    return [(d["environment"], d["deployment_id"], d["action"]) for d in result.json["deployments"]]


def deployed(ann: Person, *environments: str, **changes: object) -> str:
    """The id of iris after a deploy with these words, in the first of the environments."""
    ann.has(container_api("iris", **changes))
    options = [part for name in environments for part in ("-e", name)]
    ann.deploys(*options)
    return str(ann.release("iris", environments[0])["deployment_id"])


def traced(ann: Person, id: str):
    result = ann.runs("trace", id, "--output", "json")
    assert result.code == 0, result
    return result.json


# -- history ---------------------------------------------------------------------------------------


def test_deployments_are_listed_the_newest_first(ann):
    first = deployed(ann, "staging")
    second = deployed(ann, "staging", autoscaling={"max_replicas": 6})
    assert deployments(ann, "iris") == [("staging", second, "deploy"), ("staging", first, "deploy")]


def test_a_change_that_restarts_nothing_is_a_deployment_with_the_same_id(ann):
    first = deployed(ann, "staging")
    assert deployed(ann, "staging", autoscaling={"max_replicas": 6}) == first
    ann.runs("patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=7")
    found = ann.runs("history", "iris", "--output", "json").json["deployments"]
    assert [(d["deployment_id"], d["action"], d["is_current"]) for d in found] == [
        (first, "patch", True),
        (first, "deploy", False),
        (first, "deploy", False),
    ]
    assert len({d["commit"] for d in found}) == 3
    trace = traced(ann, first)
    assert (trace["commit"], trace["is_current"]) == (found[-1]["commit"], True)
    assert trace["manifest"]["autoscaling"] == {"max_replicas": 7}


def test_another_place_and_another_chart_are_deployments_too(ann):
    """Neither is in the deployment id."""
    first = deployed(ann, "staging")
    ann.configures(environments={"staging": {"cluster": "main", "namespace": "elsewhere"}})
    ann.deploys("-e", "staging")
    by_hand(ann, "releases/staging/iris/release.yaml", 'version: "0.2.0"', 'version: "0.2.1"')
    found = ann.runs("history", "iris", "--output", "json").json["deployments"]
    assert {d["deployment_id"] for d in found} == {first}
    assert [[c["path"] for c in d["changes"]] for d in found] == [["chart"], ["namespace"], []]


def test_what_a_deploy_takes_back_is_a_deploy(ann):
    first = deployed(ann, "staging")
    ann.runs("patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=7")
    assert deployed(ann, "staging") == first
    assert [action for _, _, action in deployments(ann, "iris")] == ["deploy", "patch", "deploy"]


def test_people_see_who_when_what_changed_and_what_stands(ann):
    first = deployed(ann, "staging")
    second = deployed(ann, "staging", autoscaling={"max_replicas": 6}, labels={"cost": "ml"})
    rows = ann.runs("history", "iris").out.splitlines()
    assert rows[0].split() == [
        "ENVIRONMENT",
        "DEPLOYMENT",
        "ID",
        "WHEN",
        "WHO",
        "WHAT",
        "CHANGED",
        "PR",
        "COMMIT",
    ]
    newest, oldest = (row.split() for row in rows[1:])
    assert newest[:3] == ["*", "staging", second]
    assert newest[5:] == [
        "+00:00", "Ann", "deploy", "autoscaling.maxReplicas,", "labels", ann.head()[:12],
    ]  # fmt: skip
    assert oldest[:2] == ["staging", first]


def test_an_unrelated_commit_is_no_deployment(ann):
    only = deployed(ann, "staging")
    ann.has(container_api("iris"), container_api("roses"))
    ann.deploys("-e", "staging")
    commit_files(ann.gitops, {"releases/staging/iris/notes.md": "hm\n", "README.md": "hello\n"})
    assert deployments(ann, "iris") == [("staging", only, "deploy")]


def test_an_override_for_another_environment_is_no_deployment_of_this_one(ann):
    """What was submitted is recorded anew; what runs is the same."""
    first = deployed(ann, "staging", "production")
    deployed(
        ann,
        "staging",
        "production",
        environments={"production": {"autoscaling": {"max_replicas": 9}}},
    )
    assert deployments(ann, "iris", "-e", "staging") == [("staging", first, "deploy")]
    assert len(deployments(ann, "iris", "-e", "production")) == 2


def test_the_history_of_one_environment_can_be_asked_for(ann):
    deployed(ann, "staging", "production")
    assert {row[0] for row in deployments(ann, "iris")} == {"staging", "production"}
    assert {row[0] for row in deployments(ann, "iris", "-e", "production")} == {"production"}


def test_what_was_removed_has_a_history(ann):
    first = deployed(ann, "staging")
    (ann.project / "api.yaml").unlink()
    ann.deploys("--prune", "-e", "staging")
    assert deployments(ann, "iris") == [("staging", None, "delete"), ("staging", first, "deploy")]


def test_an_environment_that_nobody_knows_any_more_is_still_told(ann):
    first = deployed(ann, "staging")
    (ann.project / "api.yaml").unlink()
    ann.deploys("--prune", "-e", "staging")
    ann.configures(environments={"production": {"cluster": "main", "namespace": "ml"}})
    assert deployments(ann, "iris") == [("staging", None, "delete"), ("staging", first, "deploy")]
    assert traced(ann, first)["environment"] == "staging"


def test_an_environment_whose_argo_cd_objects_are_gone_too_is_still_told(ann):
    first = deployed(ann, "staging")
    checkout = ann.checks_out()
    git("rm", "-rq", "argocd", "releases", cwd=checkout)
    git("commit", "-q", "-m", "Close it", cwd=checkout)
    git("push", "-q", "origin", "main", cwd=checkout)
    ann.configures(environments={"production": {"cluster": "main", "namespace": "ml"}})
    assert deployments(ann, "iris") == [("staging", None, "delete"), ("staging", first, "deploy")]


def test_a_name_that_was_never_deployed_is_answered_with_the_nearest(ann):
    deployed(ann, "staging")
    result = ann.runs("history", "irsi")
    assert (result.code, "did you mean 'iris'?" in result.err) == (2, True)


# -- however they got there ------------------------------------------------------------------------


def by_hand(ann: Person, path: str, old: str, new: str) -> None:
    text = ann.text(path)
    assert old in text
    commit_files(ann.gitops, {path: text.replace(old, new)})


def test_values_that_somebody_edited_by_hand_are_told_as_an_edit(ann):
    only = deployed(ann, "staging")
    by_hand(ann, "releases/staging/iris/values.yaml", "maxReplicas: 5", "maxReplicas: 50")
    result = ann.runs("history", "iris", "--output", "json").json["deployments"]
    assert [(d["deployment_id"], d["action"], d["is_current"]) for d in result] == [
        (only, "edit", True),
        (only, "deploy", False),
    ]
    assert result[0]["changes"] == [
        {"path": "autoscaling.maxReplicas", "action": "modify", "before": 5, "after": 50}
    ]


def test_the_tag_of_an_image_with_a_digest_changes_nothing_that_runs(ann):
    deployed(ann, "staging")
    by_hand(ann, "releases/staging/iris/values.yaml", "  digest:", "  tag: v2\n  digest:")
    assert len(deployments(ann, "iris")) == 1


def test_a_revert_by_hand_is_a_rollback(ann):
    first = deployed(ann, "staging")
    second = deployed(ann, "staging", autoscaling={"max_replicas": 6})
    checkout = ann.checks_out()
    git("revert", "--no-edit", "HEAD", cwd=checkout)
    git("push", "-q", "origin", "main", cwd=checkout)
    assert deployments(ann, "iris") == [
        ("staging", first, "rollback"),
        ("staging", second, "deploy"),
        ("staging", first, "deploy"),
    ]


def on_a_branch(ann: Person, *words: dict[str, object]) -> Path:
    """Deployments of iris with these words, on the branch `topic` of a checkout."""
    for each in words:
        ann.has(container_api("iris", **each))
        ann.deploys("-e", "staging")
    checkout = ann.checks_out()
    git("branch", "topic", cwd=checkout)
    git("reset", "-q", "--hard", f"HEAD~{len(words)}", cwd=checkout)
    git("push", "-q", "--force", "origin", "main", cwd=checkout)
    return checkout


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (("merge", "--no-ff"), "Merge pull request #12 from acme/topic"),
        (("merge", "--squash"), "Deploy iris to staging (#12)"),
    ],
)
def test_a_merged_pull_request_is_a_deployment_with_its_number(ann, way, message):
    """A squash drops the trailers; the files say all that has to be known."""
    first = deployed(ann, "staging")
    checkout = on_a_branch(ann, {"compute": {"cpu": "300m"}})
    wanted = git("show", "topic:releases/staging/iris/release.yaml", cwd=checkout)
    second = next(x.split(": ")[1] for x in wanted.splitlines() if x.startswith("deployment_id"))
    if "--squash" in way:
        git(*way, "topic", cwd=checkout)
        git("commit", "-q", "-m", message, cwd=checkout)
    else:
        git(*way, "-m", message, "topic", cwd=checkout)
    git("push", "-q", "origin", "main", cwd=checkout)

    assert deployments(ann, "iris") == [("staging", second, "deploy"), ("staging", first, "deploy")]
    found = traced(ann, second)
    assert (found["pull_request"], found["commit"]) == (12, ann.head())
    assert "#12" in ann.runs("history", "iris").out


def test_a_deployment_that_was_replaced_within_its_pull_request_is_not_lost(ann):
    deployed(ann, "staging")
    checkout = on_a_branch(ann, {"compute": {"cpu": "300m"}}, {"compute": {"cpu": "400m"}})
    text = git("show", "topic~1:releases/staging/iris/release.yaml", cwd=checkout)
    between = next(x.split(": ")[1] for x in text.splitlines() if x.startswith("deployment_id"))
    git("merge", "--no-ff", "-m", "Merge pull request #3 from acme/topic", "topic", cwd=checkout)
    git("push", "-q", "origin", "main", cwd=checkout)

    assert between not in {id for _, id, _ in deployments(ann, "iris")}
    found = traced(ann, between)
    assert (found["deployments"], found["is_current"]) == ([], False)
    assert found["manifest"]["compute"] == {"cpu": "300m"}
    assert "never on the branch" in ann.runs("trace", between).out


def test_a_shallow_repository_tells_where_its_memory_begins(ann):
    deployed(ann, "staging")
    second = deployed(ann, "staging", autoscaling={"max_replicas": 6})
    shallow = ann.home / "shallow.git"
    git("clone", "-q", "--bare", "--depth=1", ann.gitops.as_uri(), shallow)
    ann.configures(gitops={"repository": str(shallow)})
    result = ann.runs("history", "iris")
    assert result.err.startswith(
        "warning: the GitOps repository is a shallow clone: what is before"
    )
    assert deployments(ann, "iris") == [("staging", second, "deploy")]


def test_a_cache_clone_that_is_shallow_gets_the_rest(ann):
    first = deployed(ann, "staging")
    second = deployed(ann, "staging", autoscaling={"max_replicas": 6})
    (clone,) = (ann.home / "cache" / "git").glob("*.lock")
    folder = clone.with_suffix("")
    git("update-ref", "-d", "refs/gitops-ml/pending", cwd=folder)
    git("fetch", "-q", "--depth=1", ann.gitops.as_uri(), "main", cwd=folder)
    assert (folder / "shallow").exists()
    assert deployments(ann, "iris") == [("staging", second, "deploy"), ("staging", first, "deploy")]


def test_settings_that_people_have_for_their_own_logs_do_not_matter(ann, monkeypatch):
    first = deployed(ann, "staging")
    settings = ann.home / "gitconfig"
    settings.write_text(
        "[log]\n showSignature = true\n follow = true\n diffMerges = combined\n date = relative\n"
        "[diff]\n renames = copies\n noprefix = true\n[format]\n pretty = fuller\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    assert deployments(ann, "iris") == [("staging", first, "deploy")]


def test_a_history_that_was_rewritten_is_read_anew(ann):
    first = deployed(ann, "staging")
    deployed(ann, "staging", autoscaling={"max_replicas": 6})
    assert len(deployments(ann, "iris")) == 2
    git("update-ref", "refs/heads/main", "main~1", cwd=ann.gitops)
    assert deployments(ann, "iris") == [("staging", first, "deploy")]


# -- trace -----------------------------------------------------------------------------------------


def test_an_id_leads_to_everything_behind_it(ann):
    ann.has(container_api("iris", team="vision"))
    source = ann.keeps_source_in_git()
    ann.deploys("-e", "staging")
    id, commit = ann.release("iris")["deployment_id"], ann.head()
    ann.has(container_api("iris", team="vision", compute={"cpu": "300m"}))
    ann.deploys("-e", "staging")

    found = traced(ann, id)
    assert {key: found[key] for key in ("api", "environment", "commit", "author", "digest")} == {
        "api": "iris",
        "environment": "staging",
        "commit": commit,
        "author": "Ann <ann@example.org>",
        "digest": DIGEST,
    }
    assert found["source"]["commit"] == source
    assert found["manifest"] == container_api("iris", team="vision")
    assert found["is_current"] is False
    people = ann.runs("trace", id).out
    for word in (id, commit, source, DIGEST, "not there any more", "  team: vision"):
        assert word in people


def test_the_beginning_of_an_id_will_do_where_it_is_the_only_one(ann):
    id = deployed(ann, "staging")
    assert traced(ann, id[:-6])["deployment_id"] == id
    deployed(ann, "staging", compute={"cpu": "300m"})
    result = ann.runs("trace", "iris-")
    assert (result.code, "begins several ids" in result.err) == (2, True)


def test_an_unknown_id_is_answered_with_the_nearest(ann):
    id = deployed(ann, "staging")
    wrong = id[:-1] + ("0" if id[-1] != "0" else "1")
    result = ann.runs("trace", wrong)
    assert (result.code, id in result.err) == (2, True)
    result = ann.runs("trace", "irsi" + id.removeprefix("iris"))
    assert (result.code, id in result.err) == (2, True)


@pytest.mark.parametrize("id", ["*-0123456789ab", "../../iris-0", "-", "iris", ""])
def test_what_is_no_id_is_unknown_and_harms_nothing(ann, id):
    deployed(ann, "staging")
    assert ann.runs("trace", "--", id).code == 2


def test_an_empty_repository_has_no_deployments(ann):
    ann.has(container_api("iris"))
    assert ann.runs("trace", "iris-0123456789ab").code == 2
    assert ann.runs("history", "iris").code == 2


def test_git_is_started_as_often_for_a_long_history(ann, monkeypatch):
    starts: list[object] = []
    blobs = GitRepository.blobs
    monkeypatch.setattr(
        GitRepository, "blobs", lambda self, ids: starts.append(ids) or blobs(self, ids)
    )
    counts = []
    for most in range(2, 7):
        del starts[:]
        deployed(ann, "staging", autoscaling={"max_replicas": most})
        counts.append(len(starts))
    assert counts[2] == counts[-1], counts


def test_a_damaged_release_does_not_end_the_history(ann):
    first = deployed(ann, "staging")
    commit_files(ann.gitops, {"releases/staging/iris/release.yaml": "}{ no yaml\n"})
    assert deployments(ann, "iris") == [("staging", None, "edit"), ("staging", first, "deploy")]


def test_manifests_that_are_wrong_do_not_keep_anybody_from_looking(ann):
    first = deployed(ann, "staging")
    (ann.project / "api.yaml").write_text("]")
    assert traced(ann, first)["api"] == "iris"


def test_without_a_gitops_repository_the_way_to_one_is_told(ann):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").unlink()
    result = ann.runs("history", "iris")
    assert (result.code, "`gitops-ml init` writes one" in result.err) == (2, True)


def test_another_projects_deployments_can_be_traced(ann):
    id = deployed(ann, "staging")
    other = ann.home / "other"
    other.mkdir()
    ann.configures(folder=other, project="garden")
    ann.go(other)
    assert traced(ann, id)["project"] == "shop"


def test_history_over_a_real_bare_repository_needs_no_cache(ann, tmp_path):
    first = deployed(ann, "staging")
    copy = bare_repository(tmp_path / "copy.git")
    git("fetch", "-q", ann.gitops, "main:main", cwd=copy)
    ann.configures(gitops={"repository": str(copy)})
    assert deployments(ann, "iris") == [("staging", first, "deploy")]
