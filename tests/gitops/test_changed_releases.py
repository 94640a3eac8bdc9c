"""What a change of a release's files does to its pods."""

from __future__ import annotations

import pytest

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.git.commits import Change
from gitops_ml.gitops.changed_releases import changed_releases, pods_by_directory

DIRECTORY = "releases/staging/iris"
ROLLING = {"type": "RollingUpdate", "maxSurge": 1, "maxUnavailable": 0}


def values(*, id: str = "iris-1", strategy=ROLLING, **more) -> bytes:
    document = {
        "api": {"name": "iris", "environment": "staging", "team": "ml", "deploymentId": id},
        "image": {"repository": "r.example.org/iris", "digest": "sha256:1"},
        "resources": {"cpu": "200m"},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 10},
        "updateStrategy": strategy,
        **more,
    }
    return write_yaml(document).encode()


def facts(*, id: str = "iris-1", namespace: str = "ml", server: str = "https://one") -> bytes:
    return (
        f"name: iris\nteam: ml\nnamespace: {namespace}\nserver: {server}\ndeployment_id: {id}\n"
    ).encode()


def pods(before, after, *, facts_before=None, facts_after=None, kept=()) -> str:
    changes = [Change(f"{DIRECTORY}/values.yaml", before, after)]
    if facts_before or facts_after:
        changes.append(Change(f"{DIRECTORY}/release.yaml", facts_before, facts_after))
    (found,) = pods_by_directory(changes, kept=kept).values()
    return found


@pytest.mark.parametrize(
    ("strategy", "shown"),
    [
        (ROLLING, "rolling, 1 at a time"),
        ({**ROLLING, "maxSurge": 2}, "rolling, 2 at a time"),
        ({**ROLLING, "maxSurge": 5}, "rolling, 2 to 5 at a time"),
        ({**ROLLING, "maxUnavailable": 2}, "rolling, 2 to 3 at a time, downtime"),
        ({**ROLLING, "maxSurge": 0, "maxUnavailable": 1}, "rolling, 1 at a time"),
        ({**ROLLING, "maxSurge": "25%"}, "rolling, 1 to 3 at a time"),
        ({**ROLLING, "maxSurge": "25%", "maxUnavailable": "25%"}, "rolling, 1 to 5 at a time"),
        ({**ROLLING, "maxSurge": "25%", "maxUnavailable": 1}, "rolling, 2 to 4 at a time"),
        ({**ROLLING, "maxSurge": "100%"}, "rolling, 2 to 10 at a time"),
        ({**ROLLING, "maxSurge": "ten"}, "rolling, 1 at a time"),
        ({**ROLLING, "maxSurge": "0%", "maxUnavailable": 1}, "rolling, 1 at a time"),
        ({"type": "RollingUpdate", "maxSurge": 0, "maxUnavailable": "100%"}, "rolling, 2 to 10 at a time, downtime"),
        ({"type": "RollingUpdate"}, "rolling, 1 at a time"),
        ({"type": "Recreate"}, "stops before it starts"),
    ],
)  # fmt: skip
def test_another_deployment_id_replaces_the_pods_by_the_new_strategy(strategy, shown):
    new = values(id="iris-2", strategy=strategy)
    assert pods(values(), new) == shown
    two = {"facts_before": facts(), "facts_after": facts(id="iris-2")}
    assert pods(values(), new, **two) == shown


@pytest.mark.parametrize(
    "more",
    [
        {"strategy": {"type": "Recreate"}},
        {"autoscaling": {"minReplicas": 1, "maxReplicas": 9}},
        {"route": {"hosts": ["x.example.org"]}},
        {"labels": {"tier": "gold"}},
        {"timing": {"minReadySeconds": 9}},
    ],
)
def test_what_leaves_the_pods_alone_restarts_nothing(more):
    assert pods(values(), values(**more)) == "no restart"


def test_a_hand_edit_of_what_decides_the_pods_is_a_rollout_though_the_id_is_the_same():
    edited = values(resources={"cpu": "4"})
    assert pods(edited, values()) == "rolling, 1 at a time"
    assert pods(b"not: [yaml", values()) == "rolling, 1 at a time"


def test_releases_that_come_go_or_move():
    new, old = {"facts_after": facts()}, {"facts_before": facts()}
    assert pods(None, values(), **new) == "starts"
    assert pods(values(), None, **old) == "stops"
    assert pods(values(), None, **old, kept=("staging",)).startswith("kept: ")
    moved = {**old, "facts_after": facts(namespace="other")}
    assert (
        pods(values(), values(), **moved) == "moves to namespace other of https://one: stops here"
    )


def test_files_of_a_mode_alone_touch_no_release():
    assert changed_releases([Change(f"{DIRECTORY}/manifest.yaml", None, b"x")]) == ()


def test_one_replica_that_is_replaced_without_another_is_downtime_unless_requests_wait():
    strategy = {"type": "RollingUpdate", "maxSurge": 0, "maxUnavailable": 1}
    for scaling, shown in (
        ({"minReplicas": 1, "maxReplicas": 9}, "rolling, 1 at a time, downtime"),
        # By its schedule it has one replica at some times.
        ({"minReplicas": 0, "maxReplicas": 9}, "rolling, 1 at a time, downtime"),
        (
            {"minReplicas": 0, "maxReplicas": 9, "httpAddon": {"enabled": True}},
            "rolling, 1 at a time",
        ),
        ({"minReplicas": 2, "maxReplicas": 9}, "rolling, 1 at a time"),
    ):
        new = values(id="iris-2", strategy=strategy, autoscaling=scaling)
        assert pods(values(), new) == shown


def test_a_rollout_begins_with_the_replicas_before_the_change():
    strategy = {"type": "RollingUpdate", "maxSurge": 0, "maxUnavailable": 1}
    one, two = ({"minReplicas": number, "maxReplicas": number} for number in (1, 2))
    grown = values(id="iris-2", strategy=strategy, autoscaling=two)
    assert pods(values(autoscaling=one), grown) == "rolling, 1 at a time, downtime"
    shrunk = values(id="iris-2", strategy={**ROLLING, "maxSurge": "50%"}, autoscaling=two)
    assert pods(values(), shrunk) == "rolling, 1 to 5 at a time"
