"""States of a release's directory become deployments."""

from __future__ import annotations

from gitops_ml.git.commits import LoggedCommit
from gitops_ml.gitops.release_history import Event, State, timeline

DIRECTORY = "releases/staging/iris"


def commit(id: str, **files: str | None) -> LoggedCommit:
    return LoggedCommit(
        id=id,
        author=("Ann", "ann@example.org"),
        when="2026-01-01T00:00:00+00:00",
        message="x",
        files={f"{DIRECTORY}/{name}.yaml": blob for name, blob in files.items()},
    )


def events(*commits: LoggedCommit) -> list[tuple[str, str | None]]:
    """Commit and the state before the next one, from the oldest."""
    return [(e.commit.id, e.last.release) for e in reversed(_timeline(*commits))]


def _timeline(*commits: LoggedCommit) -> tuple[Event, ...]:
    def is_same(one: State, other: State) -> bool:
        return one.values == other.values

    return timeline(reversed(commits), DIRECTORY, is_same=is_same)


def test_each_change_of_what_runs_is_a_deployment() -> None:
    assert events(
        commit("a", release="r1", values="v1"),
        commit("b", release="r2", values="v2"),
    ) == [("a", "r1"), ("b", "r2")]


def test_what_changes_nothing_that_runs_belongs_to_the_deployment_before() -> None:
    assert events(
        commit("a", release="r1", values="v1"),
        commit("b", release="r1-noted"),
        commit("c", release="r2", values="v2"),
    ) == [("a", "r1-noted"), ("c", "r2")]


def test_a_release_that_goes_and_comes_back_is_three_events() -> None:
    assert events(
        commit("a", release="r1", values="v1"),
        commit("b", release=None, values=None),
        commit("c", release="r1", values="v1"),
    ) == [("a", "r1"), ("b", None), ("c", "r1")]


def test_other_files_of_the_directory_deploy_nothing() -> None:
    assert events(commit("a", notes="n1"), commit("b", values="v0")) == []


def test_an_earlier_state_is_a_return() -> None:
    found = _timeline(
        commit("a", release="r1", values="v1"),
        commit("b", release="r2", values="v2"),
        commit("c", release="r1", values="v1"),
    )
    assert [(event.is_return, event.is_newest) for event in found] == [
        (True, True),
        (False, False),
        (False, False),
    ]
