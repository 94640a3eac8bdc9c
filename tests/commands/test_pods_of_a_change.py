"""What each verb tells about running pods before and after it changes a release."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from tests.support.person import container_api

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
