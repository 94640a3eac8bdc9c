"""Waiting for a release, with a clock of its own: each pause is the moment when the world moves on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest

from gitops_ml.cluster.observed import ExpectedRelease
from gitops_ml.commands.delete import delete
from gitops_ml.commands.patch import patch
from gitops_ml.commands.wait import Clock, WaitPolicy, wait, wanted_by_change
from gitops_ml.delivery.change import ChangeContext, ChangeOptions
from gitops_ml.delivery.releases import Selection
from gitops_ml.errors import NotLive, Refused, ServerFailed, UsageError
from gitops_ml.forge.pull_request import PullRequest
from tests.support import controllers as k8s
from tests.support.git_servers import git
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
    """What waiting for the release ends with, and the lines of progress."""
    workspace, clients = life.asks()
    lines: list[str] = []
    release = life.ann.release("iris")
    wanted = ExpectedRelease(
        "iris", "staging", id or release["deployment_id"], how.pop("commit", None)
    )
    world = World(list(events))
    if forge := how.pop("forge", None):
        clients.forge = forge
    clients.progress = lines.append
    live = wait(workspace, [wanted], clients=clients, patience=world.patience(timeout), **how)
    return live, lines


def refused(life, *events, **how) -> NotLive:
    with pytest.raises(NotLive) as raised:
        waited(life, *events, **how)
    return raised.value


def test_it_waits_until_argo_cd_has_synced_and_the_replicas_are_ready(life):
    id = life.deploys()
    live, lines = waited(
        life,
        life.syncs,
        lambda: life.runs(k8s.waiting("ContainerCreating")),
        lambda: life.runs(k8s.starting()),
        lambda: life.runs(k8s.ready()),
    )
    assert [each.running_id for each in live] == [id]
    assert life.refreshes() == ["the root", "gitops-ml-staging"]
    assert [line.partition(":")[2].partition(":")[0].strip() for line in lines] == [
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


def changes_scaling(life) -> str:
    """A commit that keeps the deployment id, as it decides nothing about pods; returns the commit."""
    path = "releases/staging/iris/values.yaml"
    checkout = life.ann.checks_out()
    text = (checkout / path).read_text()
    assert "maxReplicas: 5" in text
    (checkout / path).write_text(text.replace("maxReplicas: 5", "maxReplicas: 7"))
    git("commit", "-qam", "Scale", cwd=checkout)
    git("push", "-q", "origin", "HEAD:main", cwd=checkout)
    return life.ann.head()


def test_a_commit_that_keeps_the_id_is_waited_for_until_argo_cd_has_synced_it(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    commit = changes_scaling(life)
    live, lines = waited(life, lambda: None, life.syncs)
    assert live[0].status.state == "live"
    assert "Argo CD has not synced the commit" in lines[0]
    assert commit[:12] in lines[0]
    assert life.refreshes() == ["the root", "gitops-ml-staging", "iris-staging"]


def test_a_failure_of_the_commit_before_is_not_the_end(life):
    life.deploys()
    broken = k8s.failed_before(life.ann.head(), "boom", compared=life.ann.head())
    life.argo_cd_says(broken)
    life.deploys(container_api("iris", compute={"cpu": "300m"}))
    life.argo_cd_says(broken)
    live, _ = waited(
        life, lambda: None, lambda: None, life.syncs, lambda: life.runs(k8s.ready()),
        commit=life.ann.head(),
    )  # fmt: skip
    assert live[0].status.state == "live"


def test_a_later_commit_of_others_is_as_good(life):
    life.deploys()
    commit = life.ann.head()
    life.deploys(container_api("iris"), container_api("price"))
    assert life.ann.head() != commit
    life.syncs()
    life.runs(k8s.ready())
    live, _ = waited(life, commit=commit, timeout=0)
    assert live[0].status.state == "live"


def test_a_comparison_that_goes_on_failing_after_the_refresh_ends_the_wait(life):
    life.deploys()
    broken = k8s.comparison_error("failed to generate manifest: no", since=k8s.LONG_AGO)
    life.argo_cd_says(broken)
    looks = [lambda: life.argo_cd_says(broken)] * 100
    failure = refused(life, *looks)
    assert failure.status == "error (sync)"
    assert "Argo CD reports ComparisonError: failed to generate manifest: no" in str(failure)
    assert "after" not in str(failure)


def test_without_the_right_to_refresh_it_says_so_once_and_polls(life):
    life.deploys()
    life.server.forbidden |= {"applications/patch", "applicationsets/patch"}
    life.syncs()
    changes_scaling(life)
    _, lines = waited(
        life, lambda: None, lambda: None, lambda: (life.syncs(), life.runs(k8s.ready()))
    )
    hints = [line for line in lines if "bootstrap/rights.yaml" in line]
    assert len(hints) == 1
    assert "gitops-ml-refresher" in hints[0]
    assert len(life.refreshes()) == 1


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
    live, lines = waited(
        life,
        lambda: None,
        lambda: merges(life),
        lambda: rolls_out(life),
        id=id, proposed=PROPOSED, forge=Forge(["open", "open", "merged"]),
    )  # fmt: skip
    assert live[0].running_id == id
    assert lines[0] == "iris in staging: pending: it waits for its review: https://forge.example/7"
    assert lines[-1] == "iris in staging: live"


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
    workspace, clients = life.asks()
    lines: list[str] = []
    clients.forge, clients.progress = Forge(["merged"]), lines.append
    with pytest.raises(NotLive, match=r"after 0 seconds it is still pending: its pull request is"):
        wait(workspace, wanted, clients=clients, proposed=PROPOSED, patience=World().patience(0))
    assert [line.partition(": ")[2] for line in lines] == [
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
    live, lines = waited(
        life, lambda: merges(life), lambda: rolls_out(life), id=id, proposed=branch
    )
    assert live[0].running_id == id
    assert "the branch gitops-ml/deploy/iris" in lines[0]


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
    assert live[0].status.state == "live"


def test_pods_that_cannot_be_read_are_replaced_by_argo_cds_health(life):
    life.deploys()
    life.server.forbidden |= {"deployments"}
    life.syncs()
    live, lines = waited(life)
    assert live[0].status.state == "live"
    assert lines[0].startswith("Argo CD's health counts, as the pods cannot be read")


def test_without_a_kubeconfig_it_does_not_wait(life):
    life.deploys()
    life.ann.monkeypatch.delenv("KUBECONFIG")
    with pytest.raises(UsageError, match="set KUBECONFIG"):
        waited(life)


def test_without_the_right_to_read_argo_cd_it_does_not_wait(life):
    life.deploys()
    life.server.forbidden |= {"applications"}
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


# -- every verb ------------------------------------------------------------------------------------

VERBS = [
    ("deploy", "-e", "staging", *NO_REGISTRY),
    ("patch", "iris", "-e", "staging", "--set", "autoscaling.max_replicas=7"),
    ("refresh", "iris", "-e", "staging"),
    ("rollback", "iris", "-e", "staging"),
    ("promote", "iris", "--from", "staging", "--to", "production"),
    ("delete", "iris", "-e", "staging", "--yes"),
]


def is_live_twice(life) -> None:
    """Two deployments, so that there is one to roll back to; the manifest then wants a third one."""
    for cpu in ("200m", "300m"):
        life.deploys(container_api("iris", compute={"cpu": cpu}))
    life.syncs()
    life.runs(k8s.ready())
    life.ann.has(container_api("iris", compute={"cpu": "400m"}))


@pytest.mark.parametrize("arguments", VERBS, ids=lambda verb: verb[0])
def test_no_verb_pushes_where_no_outcome_could_be_seen(life, arguments):
    is_live_twice(life)
    before = life.ann.head()
    life.server.broken = True
    result = life.ann.runs(*arguments, "--wait")
    assert result.code == 4, result
    assert result.out == ""
    assert life.ann.head() == before


def has_no_kubeconfig(life) -> None:
    life.ann.monkeypatch.delenv("KUBECONFIG")


def may_not_read(life) -> None:
    life.server.forbidden |= {"applications"}


def has_no_argo_cd(life) -> None:
    life.server.loses("Application")


@pytest.mark.parametrize(
    ("happens", "code", "remedy"),
    [
        (has_no_kubeconfig, 2, "set KUBECONFIG"),
        (may_not_read, 5, "An administrator of the cluster can allow it"),
        (has_no_argo_cd, 4, "set gitops.argocd_context"),
    ],
)
def test_the_cause_is_told_before_anything_is_pushed(life, happens, code, remedy):
    life.deploys()
    before = life.ann.head()
    happens(life)
    result = life.ann.runs("refresh", "iris", "-e", "staging", "--wait")
    assert result.code == code, result
    assert remedy in result.err
    assert life.ann.head() == before


@pytest.mark.parametrize("arguments", VERBS, ids=lambda verb: verb[0])
def test_every_verb_waits_for_its_own_commit(life, arguments):
    is_live_twice(life)
    result = life.ann.runs(*arguments, "--wait", "--timeout", "0")
    assert result.code == 1, result
    assert " seconds it is still " in result.err
    assert "iris in production" in result.err or "iris in staging" in result.err


def test_a_change_that_keeps_the_id_is_not_live_before_its_review(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    workspace, clients = life.asks()
    clients.forge = None
    options = ChangeOptions(pull_request=True)
    changed = patch(
        ChangeContext(workspace, clients, options), "iris", {"autoscaling": {"max_replicas": 7}}
    )
    (wanted,) = wanted_by_change(changed)
    same_id = replace(wanted, deployment_id=life.ann.release("iris")["deployment_id"])
    with pytest.raises(NotLive, match="still pending: it waits for its review"):
        wait(
            workspace, [same_id],
            clients=clients, proposed=changed.pull_request, patience=World().patience(0),
        )  # fmt: skip


def test_a_plan_is_not_waited_for(life):
    life.deploys()
    life.server.broken = True
    result = life.ann.runs("delete", "iris", "-e", "staging", "--dry-run", "--wait")
    assert result.code == 0, result


def deleted(life, *events, **how):
    """The lines of progress of waiting for a removal that is in Git."""
    workspace, clients = life.asks(how.get("environment", "staging"))
    lines: list[str] = []
    clients.progress = lines.append
    changed = delete(ChangeContext(workspace, clients, ChangeOptions()), Selection(apis=("iris",)))
    wait(
        workspace,
        wanted_by_change(changed),
        clients=clients,
        patience=World(list(events)).patience(),
    )
    return [line.partition(": ")[2] for line in lines]


def test_a_removal_is_waited_for_until_the_last_pod_is_gone(life):
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    lines = deleted(life, lambda: None, life.is_gone)
    assert lines == [
        "deleting: Argo CD has not noticed the removal of iris yet, 1 pod left",
        "gone",
    ]
    assert life.refreshes() == ["the root", "gitops-ml-staging"]


def test_a_protected_environment_keeps_what_runs_and_needs_no_cluster(life):
    life.deploys(environment="production")
    life.server.broken = True
    lines = deleted(life, environment="production")
    assert lines == [
        "gone: production is protected: Argo CD keeps what runs, so nothing is waited for"
    ]


def test_deploy_waits_until_what_it_pruned_is_gone(life):
    life.deploys(container_api("iris"), container_api("price"))
    for api in ("iris", "price"):
        life.syncs(api)
    life.runs(k8s.ready())
    life.ann.has(container_api("iris"))
    result = life.ann.runs(
        "deploy", "-e", "staging", "--prune", "--wait", "--timeout", "0", *NO_REGISTRY
    )
    assert "iris in staging: live" in result.err
    assert "price in staging (its removal): after" in result.err
