"""Every verb that changes releases can propose its change; and the forge knows what messages do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.commands.history import trace
from gitops_ml.errors import ServerFailed
from gitops_ml.forge.pull_request import PullRequest
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import open_settings
from tests.support.git_servers import git
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
