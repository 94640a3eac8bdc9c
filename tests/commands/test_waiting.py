"""Waiting for a release, with a clock of its own: each pause is the moment when the world moves on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest

from gitops_ml.cluster.model import ExpectedRelease
from gitops_ml.commands.wait import Clock, WaitPolicy, wait
from gitops_ml.errors import NotLive, Refused, ServerFailed, UsageError
from gitops_ml.forge.pull_request import PullRequest
from tests.support import controllers as k8s
from tests.support.person import NO_REGISTRY, container_api

PROPOSED = PullRequest(
    number=7,
    url="https://forge.example/7",
    title="Deploy iris",
    state="open",
    head="x",
    base="main",
)


@dataclass
class Forge:
    """Only what waiting asks."""

    states: list[str]

    def get(self, number: int) -> PullRequest:
        assert number == PROPOSED.number
        return replace(
            PROPOSED, state=self.states[0] if len(self.states) == 1 else self.states.pop(0)
        )


@dataclass
class World:
    """What happens in each pause; after the last event nothing does."""

    events: list = field(default_factory=list)
    now: datetime = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        if self.events:
            self.events.pop(0)()

    def patience(self, timeout: float = 600) -> WaitPolicy:
        return WaitPolicy(timeout=timeout, interval=5, clock=Clock(lambda: self.now, self.sleep))


def waited(life, *events, id: str | None = None, timeout: float = 600, **how):
    """What waiting for the release ends with, and what it told on the way."""
    workspace, tools = life.asks()
    told: list[str] = []
    release = life.ann.release("iris")
    wanted = ExpectedRelease(
        "iris", "staging", id or release["deployment_id"], how.pop("commit", None)
    )
    world = World(list(events))
    if forge := how.pop("forge", None):
        tools.forge = forge
    tools.progress = told.append
    live = wait(workspace, [wanted], tools=tools, patience=world.patience(timeout), **how)
    return live, told


def refused(life, *events, **how) -> NotLive:
    with pytest.raises(NotLive) as raised:
        waited(life, *events, **how)
    return raised.value


def test_it_waits_until_argo_cd_has_synced_and_the_replicas_are_ready(life):
    id = life.deploys()
    live, told = waited(
        life,
        life.syncs,
        lambda: life.runs(k8s.waiting("ContainerCreating")),
        lambda: life.runs(k8s.starting()),
        lambda: life.runs(k8s.ready()),
    )
    assert [each.running_id for each in live] == [id]
    assert [line.partition(":")[2].partition(":")[0].strip() for line in told] == [
        "pending", "updating", "updating", "updating", "live",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "word", "remedy"),
    [
        (k8s.pull_backs_off("not found"), "error (image pull)", "`gitops-ml deploy` builds it again"),
        (k8s.crashes("KeyError: 'x'", restarts=2), "error", "`gitops-ml logs` shows why"),
        (k8s.crashes("", restarts=2, reason="OOMKilled", code=137), "error (out of memory)", "compute.mem"),
    ],
)  # fmt: skip
def test_it_ends_early_with_the_reason_when_a_replica_cannot_become_ready(
    life, status, word, remedy
):
    id = life.deploys()
    life.syncs()
    failure = refused(life, lambda: life.runs(k8s.starting()), lambda: life.runs(status))
    assert (failure.api, failure.environment, failure.status) == ("iris", "staging", word)
    assert remedy in failure.remedy
    assert str(failure).startswith(f"iris in staging ({id}): {word}: ")


def test_it_ends_early_when_argo_cd_cannot_apply_the_commit(life):
    life.deploys()
    failed = k8s.sync_failed(life.ann.head(), "ScaledObject", "iris", "no matches for kind")
    failure = refused(life, lambda: life.argo_cd_says(failed), commit=life.ann.head())
    assert failure.status == "error (sync)"
    assert "install its CRD" in failure.remedy


def test_it_ends_with_the_last_status_when_the_time_is_over(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.starting())
    failure = refused(life, timeout=10)
    assert "after 10 seconds it is still updating: 0 of 1 replicas are ready" in str(failure)


def test_it_ends_when_another_deploy_came_after_this_one(life):
    id = life.deploys()
    failure = refused(
        life, lambda: life.deploys(container_api("iris", compute={"cpu": "300m"})), id=id
    )
    assert "another change came after this one" in failure.reason


# -- pull requests ---------------------------------------------------------------------------------


def proposes(life) -> str:
    """A deploy that waits for its review: its id, while Git still has the version before."""
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    life.ann.has(container_api("iris", compute={"cpu": "300m"}))
    result = life.ann.runs("deploy", "-e", "staging", "--dry-run", *NO_REGISTRY, "-o", "json")
    return result.json["releases"][0]["deployment_id"]


def merges(life) -> None:
    life.ann.deploys("-e", "staging", *NO_REGISTRY)


def rolls_out(life) -> None:
    life.syncs()
    life.runs(k8s.ready())


def test_it_waits_for_the_review_and_then_for_the_rollout(life):
    id = proposes(life)
    live, told = waited(
        life,
        lambda: None,
        lambda: merges(life),
        lambda: rolls_out(life),
        id=id, proposed=PROPOSED, forge=Forge(["open", "open", "merged"]),
    )  # fmt: skip
    assert live[0].running_id == id
    assert told[0] == "iris in staging: pending: it waits for its review: https://forge.example/7"
    assert told[-1] == "iris in staging: live"


def test_a_merge_that_the_forge_told_before_git_had_it_is_no_failure(life):
    id = proposes(life)
    live, _ = waited(
        life,
        lambda: merges(life),
        lambda: rolls_out(life),
        id=id, proposed=PROPOSED, forge=Forge(["merged"]),
    )  # fmt: skip
    assert live[0].running_id == id


def test_a_pull_request_may_bring_several_releases(life):
    life.deploys(container_api("iris"), container_api("price"))
    changed = [container_api(name, compute={"cpu": "300m"}) for name in ("iris", "price")]
    life.ann.has(*changed)
    result = life.ann.runs("deploy", "-e", "staging", "--dry-run", *NO_REGISTRY, "-o", "json")
    wanted = [
        ExpectedRelease(release["api"], "staging", release["deployment_id"])
        for release in result.json["releases"]
    ]
    assert len(wanted) == 2
    workspace, tools = life.asks()
    told: list[str] = []
    tools.forge, tools.progress = Forge(["merged"]), told.append
    with pytest.raises(NotLive, match=r"after 0 seconds it is still pending: its pull request is"):
        wait(workspace, wanted, tools=tools, proposed=PROPOSED, patience=World().patience(0))
    assert [line.partition(": ")[2] for line in told] == [
        "pending: its pull request is merged: https://forge.example/7"
    ] * 2


def test_what_somebody_deploys_after_the_merge_ends_the_wait(life):
    id = proposes(life)

    def is_replaced() -> None:
        life.deploys(container_api("iris", compute={"cpu": "400m"}))

    failure = refused(
        life,
        lambda: merges(life),
        is_replaced,
        id=id, proposed=PROPOSED, forge=Forge(["merged"]),
    )  # fmt: skip
    assert "another change came after this one" in failure.reason


def test_it_ends_when_the_pull_request_is_closed(life):
    failure = refused(life, id=proposes(life), proposed=PROPOSED, forge=Forge(["open", "closed"]))
    assert failure.reason == (
        "its pull request was closed without being merged: https://forge.example/7"
    )


def test_without_a_forge_it_waits_for_the_branch_to_be_merged(life):
    id = proposes(life)
    branch = replace(PROPOSED, number=0, url="", head="gitops-ml/deploy/iris")
    live, told = waited(life, lambda: merges(life), lambda: rolls_out(life), id=id, proposed=branch)
    assert live[0].running_id == id
    assert "the branch gitops-ml/deploy/iris" in told[0]


# -- what cannot be looked at ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["broken", "cut"])
def test_a_cluster_that_is_away_for_a_moment_is_no_reason_to_give_up(life, how):
    life.deploys()
    life.syncs()
    life.runs(k8s.starting())

    def goes_away():
        setattr(life.server, how, True)

    def comes_back():
        setattr(life.server, how, False)
        life.runs(k8s.ready())

    live, _ = waited(life, goes_away, comes_back)
    assert live[0].status.word == "live"


def test_without_a_kubeconfig_it_does_not_wait(life):
    life.deploys()
    life.ann.monkeypatch.delenv("KUBECONFIG")
    with pytest.raises(UsageError, match="set KUBECONFIG"):
        waited(life)


def test_without_any_permission_it_does_not_wait(life):
    life.deploys()
    life.server.forbidden |= {"applications", "deployments"}
    with pytest.raises(Refused, match="forbidden"):
        waited(life)


def test_a_cluster_that_never_answers_is_told_at_once(life):
    life.deploys()
    life.server.broken = True
    with pytest.raises(ServerFailed):
        waited(life)


def test_deploy_waits_for_what_it_deployed(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    result = life.ann.runs("deploy", "-e", "staging", "--wait", *NO_REGISTRY)
    assert result.code == 0, result
    assert result.out == "nothing to change\n"
    assert result.err == "iris in staging: live\n"

    life.runs(k8s.crashes("boom", restarts=5))
    result = life.ann.runs("deploy", "-e", "staging", "--wait", *NO_REGISTRY)
    assert result.code == 1
    assert (
        "predictor ended with exit code 1, 5 times: boom. `gitops-ml logs` shows why" in result.err
    )
