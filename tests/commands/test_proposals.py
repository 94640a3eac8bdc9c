"""Every verb that changes releases can propose its change; and the forge knows what messages do not."""

from __future__ import annotations

from pathlib import Path

import pytest

import gitops_ml as gml
from gitops_ml.commands.history import trace
from gitops_ml.errors import ServerFailed
from gitops_ml.forge.pull_request import PullRequest
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import open_settings
from tests.support.git_servers import git
from tests.support.person import container_api
from tests.support.releases import deployed, did, iris

REQUEST = PullRequest(
    number=7,
    url="https://forge.example/7",
    title="Deploy iris",
    state="merged",
    head="a",
    base="main",
)


@pytest.mark.parametrize(
    ("arguments", "branch"),
    [
        (("promote", "iris", "--to", "production"), "promote/production/iris"),
        (("rollback", "iris", "-e", "staging"), "rollback/staging/iris"),
        (("delete", "iris", "-e", "staging", "--yes"), "delete/staging/iris"),
        (("refresh", "--all", "-e", "staging"), "refresh/staging/shop"),
        (("patch", "iris", "-e", "staging", "--set", "labels.a=b"), "patch/staging/iris"),
    ],
)
def test_a_change_can_wait_for_its_review(ann, arguments, branch):
    ann.configures(gitops={"forge": {"type": "none"}})
    deployed(ann, iris())
    deployed(ann, iris(autoscaling={"max_replicas": 6}))
    before = ann.head()
    result = did(ann, *arguments, "--pull-request")
    assert ann.head() == before
    proposed = git("rev-parse", f"refs/heads/gitops-ml/{branch}", cwd=ann.gitops)
    assert git("rev-parse", f"{proposed}^", cwd=ann.gitops) == before
    assert f"pushed the branch gitops-ml/{branch}" in result.out
    did(ann, *arguments, "--pull-request")
    assert git("rev-parse", f"refs/heads/gitops-ml/{branch}", cwd=ann.gitops) == proposed


class Knowing:
    """A forge that has an answer about every commit, or none."""

    def __init__(self, *answer: PullRequest, failure: Exception | None = None) -> None:
        self.answer = answer
        self.failure = failure
        self.asked: list[str] = []

    def of_commit(self, commit: str) -> tuple[PullRequest, ...]:
        self.asked.append(commit)
        if self.failure:
            raise self.failure
        return self.answer


@pytest.mark.parametrize(
    ("forge", "number"),
    [(Knowing(REQUEST), 7), (Knowing(), None), (Knowing(failure=ServerFailed("away")), None)],
)
def test_the_forge_is_asked_where_a_commit_names_no_pull_request(ann, forge, number):
    id = deployed(ann, iris())
    workspace = open_settings()
    clients = Clients(project=workspace.project, root=Path.cwd())
    clients.forge = forge
    found = trace(workspace, id, clients=clients)
    assert (found.pull_request, forge.asked[-1]) == (number, ann.head())


NEW_POD = {"compute": {"cpu": "300m"}}
SCALED = {"autoscaling": {"max_replicas": 9}}
TWO_EXTRA = {"update_strategy": {"max_surge": 2, "max_unavailable": 0}}
RECREATE = {"update_strategy": {"type": "Recreate"}}

CHANGES = [
    ({}, SCALED, "no restart"),
    ({}, {"labels": {"tier": "gold"}}, "no restart"),
    ({}, TWO_EXTRA, "no restart"),
    ({}, NEW_POD, "rolling, 1 to 3 at a time"),
    ({}, {"pod_labels": {"tier": "gold"}}, "rolling, 1 to 3 at a time"),
    (TWO_EXTRA, {**TWO_EXTRA, **NEW_POD}, "rolling, 1 to 2 at a time"),
    ({}, {**RECREATE, **NEW_POD}, "stops before it starts"),
    (NEW_POD, {}, "rolling, 1 to 3 at a time"),
]


@pytest.mark.parametrize(("before", "after", "pods"), CHANGES)
def test_diff_and_deploy_and_the_pull_request_say_the_same(ann, before, after, pods):
    ann.has(container_api("iris", **before))
    assert "iris in staging: starts" in ann.runs("diff", "-e", "staging").out
    assert ann.deploys("-e", "staging", "-o", "json").json["releases"][0]["pods"] == "starts"
    ann.has(container_api("iris", **after))
    assert f"iris in staging: {pods}" in ann.runs("diff", "-e", "staging").out
    planned = gml.client("staging", offline=True).create_api(
        container_api("iris", **after), dry_run=True
    )
    assert (planned.pods, f" {pods}\n" in str(planned)) == (pods, True)
    proposed = ann.deploys("-e", "staging", "-o", "json").json
    assert [release["pods"] for release in proposed["releases"]] == [pods]


def test_the_other_verbs_say_it(ann):
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging")

    def pods(*verb: str) -> list[str]:
        facts = ann.runs(*verb, "-o", "json").json
        return [release["pods"] for release in facts["releases"]]

    where = ("iris", "-e", "staging")
    assert pods("promote", "iris", "--to", "production") == ["starts"]
    assert pods("patch", *where, "--set", "autoscaling.max_replicas=9") == ["no restart"]
    assert pods("patch", *where, "--set", "compute.cpu=300m") == ["rolling, 1 to 5 at a time"]
    assert pods("promote", "iris", "--to", "production") == ["rolling, 1 to 5 at a time"]
    assert pods("rollback", *where) == ["rolling, 1 to 5 at a time"]
    assert pods("rollback", *where) == ["no restart"]
    assert pods("refresh", *where) == ["rolling, 1 to 3 at a time"]
    assert "rolling, 1 to 3 at a time" in ann.runs("refresh", *where, "--dry-run").out
    assert pods("delete", *where, "--yes") == ["stops"]
    (kept,) = pods("delete", "iris", "-e", "production", "--yes")
    assert kept.startswith("kept: Argo CD deletes nothing")
