"""What a check says about a rollout is what the Deployment controller does, for any pair of manifests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gitops_ml.gitops.changed_releases import DOWNTIME, NO_RESTART, RECREATE, rollout_between
from gitops_ml.review.review import Side
from gitops_ml.review.rollout import rollout_of
from tests.support.deployment_controller import assert_as_the_controller_does
from tests.support.pipeline import PROJECT, Rendered, api, errors_of, merged, project_of, rendered

if TYPE_CHECKING:
    from gitops_ml.review.review import Rollout

pytest.importorskip("helm_python")

EXAMPLES = int(os.environ.get("GITOPS_ML_EXAMPLES", "60"))
PLACES = merged(
    PROJECT,
    {
        "clusters": {
            "main": {
                "gpu_classes": {
                    "t4": {"preset": "gke", "model": "t4", "spare": True, "quota": 4},
                    "l4": {"preset": "gke", "model": "l4", "spare": False},
                }
            }
        }
    },
)
FEW = st.integers(0, 4)
SHARES = st.sampled_from([None, 0, 1, 2, 5, "0%", "10%", "25%", "50%", "100%"])
DAY = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Oslo"}


def given_only(**words: Any) -> dict[str, Any]:
    return {key: value for key, value in words.items() if value is not None}


@st.composite
def manifests(draw: Any) -> dict[str, Any]:
    fewest = draw(FEW)
    scaling: dict[str, Any] = {"min_replicas": fewest, "max_replicas": max(1, fewest + draw(FEW))}
    if fewest == 0 and draw(st.booleans()):
        scaling |= {"scale_to_zero": "schedule", "schedule": [{**DAY, "replicas": 1}]}
    gpus, gpu_class = draw(st.sampled_from([(0, None), (1, "t4"), (2, "t4"), (1, "l4")]))
    strategy = given_only(
        type=draw(st.sampled_from([None, "Recreate", "RollingUpdate"])),
        max_surge=draw(SHARES),
        max_unavailable=draw(SHARES),
    )
    if strategy.get("type") == "Recreate":
        strategy = {"type": "Recreate"}
    return api(
        predictor={"env": {"A": draw(st.sampled_from("ab"))}},
        autoscaling=scaling,
        update_strategy=strategy,
        compute=given_only(gpu=gpus or None, gpu_class=gpu_class),
        labels=draw(st.sampled_from([{}, {"b.example/tier": "gold"}])),
    )


PROJECTS = st.sampled_from([
    {},
    {"environments": {"staging": {"overrides": {"compute": {"mem": "3Gi"}}}}},
    {"environments": {"staging": {"overrides": {"update_strategy": {"type": "Recreate"}}}}},
    {"environments": {"staging": {"overrides": {"autoscaling": {"max_replicas": 6}}}}},
    {"clusters": {"main": {"gpu_classes": {"t4": {"spare": False}}}}},
    {"clusters": {"main": {"http_addon": False}}},
    {"clusters": {"main": {"prometheus": {"pod_monitors": False}}}},
    {"clusters": {"main": {"kubernetes_version": "1.34"}}},
])  # fmt: skip


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(
    before=manifests(),
    after=st.none() | manifests(),
    other=st.sampled_from("ab"),
    projects=st.tuples(PROJECTS, PROJECTS),
)
def test_what_is_said_about_a_rollout_is_what_the_controller_does(before, after, other, projects):
    after = after or merged(before, {"predictor": {"env": {"A": other}}})
    old, new = (state(*pair) for pair in zip((before, after), projects, strict=True))
    said = stated(old, new)
    assert_as_the_controller_does(said, *map(side, (old, new)))


def state(manifest: dict[str, Any], words: dict[str, Any]) -> Rendered:
    project = project_of(merged(PLACES, words))
    assume(not errors_of(manifest, project))
    return rendered(manifest, project)


def stated(old: Rendered, new: Rendered) -> Rollout:
    ids = old.text.deployment_id, new.text.deployment_id
    pods = rollout_between(ids, old.values, new.values)
    said = rollout_of(side(old), side(new), pods=pods, cluster=new.cluster)
    # What `diff` and the other verbs say.
    assert (pods == NO_RESTART) is not said.restarts
    assert pods == RECREATE or pods.endswith(DOWNTIME) is said.downtime
    return said


def side(found: Rendered) -> Side:
    return Side(spec=found.spec, manifest={}, values=found.values, objects=found.objects)
