"""The list of releases that a preview shows: in the pull request, and exactly what it changes."""

from __future__ import annotations

import pytest
import yaml

from tests.support.git_servers import git
from tests.support.person import ENVIRONMENTS, container_api

HEAD = "gitops-ml/deploy/staging"


@pytest.fixture
def shop(ann):
    """Three APIs in staging, which has previews, and in production."""
    staging = {**ENVIRONMENTS["staging"], "previews": {"quota": {"pods": 2}}}
    ann.configures(
        environments={**ENVIRONMENTS, "staging": staging}, gitops={"forge": {"type": "none"}}
    )
    writes(ann)
    ann.deploys()
    return ann


def writes(ann, *, changed: str = "", **changes) -> None:
    ann.has(*(
        container_api(name, **(changes if name in changed.split() else {}))
        for name in ("iris", "churn", "fraud")
    ))  # fmt: skip


def listed(ann, head: str) -> list[str] | None:
    """The names in the list of a branch; `None` where it has no list."""
    paths = git("ls-tree", "-r", "--name-only", head, "previews/", cwd=ann.gitops).splitlines()
    if not paths:
        return None
    assert paths == [f"previews/staging/{head}.yaml"]
    found = yaml.safe_load(git("show", f"{head}:{paths[0]}", cwd=ann.gitops))["releases"]
    version = ann.release("iris")["chart"]["version"]
    assert {each["chart"] for each in found} == {f"predictor/{version}"}
    return [each["name"] for each in found]


def test_a_pull_request_lists_what_it_changes_and_a_push_lists_nothing(shop):
    assert not shop.paths("previews/")
    writes(shop, changed="iris", compute={"cpu": "300m"})
    shop.deploys("-e", "staging", "-a", "iris", "--pull-request")
    assert listed(shop, f"{HEAD}/iris") == ["iris"]


def test_a_change_of_scaling_is_listed_though_its_record_stays(shop):
    writes(shop, changed="iris", autoscaling={"max_replicas": 9})
    shop.deploys("-e", "staging", "-a", "iris", "--pull-request")
    assert listed(shop, f"{HEAD}/iris") == ["iris"]


def test_an_older_list_of_the_branch_is_replaced(shop):
    writes(shop, changed="iris churn", compute={"cpu": "300m"})
    shop.deploys("-e", "staging", "--pull-request")
    assert listed(shop, f"{HEAD}/shop") == ["churn", "iris"]
    git("update-ref", "refs/heads/main", f"refs/heads/{HEAD}/shop", cwd=shop.gitops)
    writes(shop, changed="iris churn", compute={"cpu": "300m"})
    writes(shop, changed="fraud iris churn", compute={"cpu": "300m"})
    shop.deploys("-e", "staging", "--pull-request")
    assert listed(shop, f"{HEAD}/shop") == ["fraud"]


def test_more_releases_than_the_quota_has_pods_are_left_out_with_a_warning(shop):
    writes(shop, changed="iris churn fraud", compute={"cpu": "300m"})
    tried = shop.deploys("-e", "staging", "--pull-request", "--dry-run")
    assert "shows 2 of its 3 releases in staging" in tried.err
    shop.deploys("-e", "staging", "--pull-request")
    assert listed(shop, f"{HEAD}/shop") == ["churn", "fraud"]


SECRET = [{"env": "STORE_TOKEN", "name": "iris-store", "key": "token"}]
LISTED = {
    "name": "iris-store",
    "key": "token",
    "remote": {"store": "previews", "key": "ml/previews"},
}
CLUSTERS = {"main": {"external_secrets": True}}


def lists_secrets(ann, *secrets) -> None:
    """The owner's list of the secrets of previews."""
    staging = {**ENVIRONMENTS["staging"], "cluster": "main", "previews": {"secrets": [*secrets]}}
    production = {**ENVIRONMENTS["production"], "cluster": "main"}
    ann.configures(
        clusters=CLUSTERS,
        environments={"staging": staging, "production": production},
        gitops={"forge": {"type": "none"}},
    )


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([], "these variables are not set, so an API that needs them does not start: iris has no STORE_TOKEN"),
        ([{**LISTED, "key": "other"}], "their pods do not start: iris has no STORE_TOKEN (token of iris-store)"),
        ([LISTED], ""),
    ],
)  # fmt: skip
def test_what_a_preview_lacks_is_one_warning_of_the_deploy_and_of_the_check(shop, secrets, words):
    lists_secrets(shop, *secrets)
    shop.deploys()
    shop.keeps_source_in_git()
    writes(shop, changed="iris", secrets=SECRET)
    tried = shop.deploys("-e", "staging", "--pull-request", "--dry-run")
    checked = shop.runs("check", "--base", "HEAD", "--offline")
    for text in (tried.err, checked.out):
        assert text.count("previews in staging lack secrets") == bool(words)
        assert words in " ".join(text.split())


def test_a_change_cannot_extend_the_list_that_it_is_checked_against(shop):
    lists_secrets(shop)
    shop.keeps_source_in_git()
    lists_secrets(shop, LISTED)
    writes(shop, changed="iris", secrets=SECRET)
    checked = " ".join(shop.runs("check", "--base", "HEAD", "--offline").out.split())
    assert "previews in staging lack secrets" in checked
    assert "the secrets of previews of staging change: + " in checked


def test_the_same_pull_request_again_changes_nothing(shop):
    writes(shop, changed="iris", compute={"cpu": "300m"})
    shop.deploys("-e", "staging", "-a", "iris", "--pull-request")
    before = git("rev-parse", f"{HEAD}/iris", cwd=shop.gitops)
    shop.deploys("-e", "staging", "-a", "iris", "--pull-request")
    assert git("rev-parse", f"{HEAD}/iris", cwd=shop.gitops) == before


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        (("delete", "iris", "-e", "staging", "--yes"), "delete/staging/iris"),
        (("promote", "iris", "--to", "production"), "promote/production/iris"),
    ],
)
def test_a_removal_and_an_environment_without_previews_have_no_list(shop, arguments, head):
    if arguments[0] == "promote":
        writes(shop, changed="iris", compute={"cpu": "300m"})
        shop.deploys("-e", "staging")
    outcome = shop.runs(*arguments, "--pull-request")
    assert outcome.code == 0, outcome
    assert listed(shop, f"gitops-ml/{head}") is None
