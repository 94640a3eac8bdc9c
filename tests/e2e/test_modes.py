"""The switch of the mode in an environment that two projects share."""

from __future__ import annotations

from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api


def test_a_switch_by_one_project_keeps_the_pods_and_the_sync_of_the_other(story):
    others = {"project": f"others-{story.mark}"}
    delivers(story, answer_api() | {"name": "second"}, **others)
    delivers(story, answer_api())
    story.bootstraps()
    settles(story, "chart")
    before = uids(story)
    assert len(before) == 2

    for mode in ("manifests", "chart"):
        story.configures(gitops={"mode": mode})
        story.deploys()
        settles(story, mode)
        assert uids(story) == before


def delivers(story, api, **settings):
    """Deploy the API of a project, without waiting: Argo CD gets both at once by `story.bootstraps`."""
    story.configures(**settings)
    story.has(api)
    story.runs("deploy", "-e", story.environment)


def settles(story, mode):
    until(
        lambda: states(story) == [(mode, "Synced", "Healthy")] * 2,
        f"Argo CD has synced both releases in mode {mode}",
        seconds=300,
    )


def states(story):
    """Mode, sync status and health of the Applications."""
    found = [each.get("status", {}) for each in story.applications()]
    return [
        (
            "manifests" if "directory" in _source(status) else "chart",
            status.get("sync", {}).get("status"),
            status.get("health", {}).get("status"),
        )
        for status in found
    ]


def _source(status):
    return status.get("sync", {}).get("comparedTo", {}).get("source", {})


def uids(story):
    return {pod["metadata"]["uid"] for api in ("answer", "second") for pod in story.pods(api)}
