"""Any manifests, and any edits of them: what a check says holds."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_ml.documents.markdown import unfolded
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.reports.terminal_lines import terminal_lines
from tests.support.deployment_controller import assert_as_the_controller_does
from tests.support.source_changes import APIS, DIGEST, OTHER_DIGEST, PREDICTOR, Source

if TYPE_CHECKING:
    from gitops_ml.review.review import ReleaseReview, Review

pytest.importorskip("helm_python")

EXAMPLES = int(os.environ.get("GITOPS_ML_EXAMPLES", "20"))
"""More in a long run: each costs two checks with real repositories."""

NAMES = ("iris", "forest", "painter", "tulip")
WEIRD = st.sampled_from(
    [
        "",
        "x",
        "ünïcode",
        "0x10",
        "1e3",
        "null",
        "a\nb",
        "{{ x }}",
        "*",
        "@me",
        "`" * 5,
        "\u202e",
        "#",
    ]
)
NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 17, -1, 10**9])
EDITS = st.one_of(
    st.tuples(st.just("autoscaling.max_replicas"), NUMBERS),
    st.tuples(st.just("autoscaling.min_replicas"), NUMBERS),
    st.tuples(st.just("autoscaling.target_in_flight"), NUMBERS),
    st.tuples(st.just("compute.cpu"), st.sampled_from(["1", "1000m", "250m", 2, "lots", None])),
    st.tuples(st.just("compute.mem"), st.sampled_from(["1Gi", "1024Mi", "3Gi", None])),
    st.tuples(st.just("compute.gpu"), st.sampled_from([0, 1, 2, None])),
    st.tuples(st.just("compute.gpu_class"), st.sampled_from(["t4", "l4", "h100", None])),
    st.tuples(st.just("compute.spot"), st.booleans()),
    st.tuples(st.just("networking.endpoint"), st.sampled_from(["/a", "/forest", "/", None])),
    st.tuples(st.just("networking.visibility"), st.sampled_from(["public", "cluster"])),
    st.tuples(st.just("networking.timeout"), st.sampled_from(["30s", "2m"])),
    st.tuples(st.just("predictor.config"), st.dictionaries(WEIRD, WEIRD | NUMBERS, max_size=3)),
    st.tuples(st.just("predictor.env"), st.dictionaries(st.just("A"), WEIRD, max_size=1)),
    st.tuples(st.just("container.env"), st.dictionaries(st.just("A"), WEIRD, max_size=1)),
    st.tuples(
        st.just("container.image"),
        st.sampled_from([f"r.example.org/x@{DIGEST}", f"r.example.org/x@{OTHER_DIGEST}", "x:1"]),
    ),
    st.tuples(st.just("update_strategy.type"), st.sampled_from(["Recreate", "RollingUpdate"])),
    st.tuples(st.just("update_strategy.max_surge"), st.sampled_from([0, 1, "50%"])),
    st.tuples(st.just("update_strategy.max_unavailable"), st.sampled_from([0, 1, "50%"])),
    st.tuples(st.just("probes.startup"), st.sampled_from(["1m", "20m"])),
    st.tuples(st.just("labels"), st.dictionaries(st.just("team"), WEIRD, max_size=1)),
    st.tuples(st.just("pod_labels"), st.dictionaries(st.just("team"), st.just("x"), max_size=1)),
    st.tuples(st.just("environments"), st.just({"staging": {"compute": {"cpu": "2"}}})),
    st.tuples(st.just("kind"), st.sampled_from(["AsyncAPI", "BatchAPI", "TrafficSplitter"])),
)
CLUSTER = "clusters.main"
PROJECT_EDITS = st.one_of(
    st.tuples(
        st.just("image.base"), st.sampled_from(["python:3.12-slim", f"python:3@{OTHER_DIGEST}"])
    ),
    st.tuples(st.just("image.python_version"), st.sampled_from(["3.12", "3.13"])),
    st.tuples(st.just("image.platforms"), st.just(["linux/amd64", "linux/arm64"])),
    st.tuples(st.just(f"{CLUSTER}.kubernetes_version"), st.sampled_from(["1.34", "1.37"])),
    st.tuples(st.just(f"{CLUSTER}.gpu_classes.t4.spare"), st.booleans()),
    st.tuples(st.just(f"{CLUSTER}.gpu_classes.t4.preset"), st.sampled_from(["eks", "nvidia"])),
    st.tuples(st.just(f"{CLUSTER}.gpu_classes.l4"), st.none()),
    st.tuples(st.just(f"{CLUSTER}.prometheus"), st.none()),
    st.tuples(st.just(f"{CLUSTER}.prometheus.pod_monitors"), st.just(False)),
    st.tuples(st.just(f"{CLUSTER}.http_addon"), st.booleans()),
    st.tuples(st.just(f"{CLUSTER}.gateway.hosts"), st.just(["a.example.org", "b.example.org"])),
    st.tuples(st.just(f"{CLUSTER}.server"), st.just("https://other.example.org")),
    st.tuples(st.just("environments.staging.namespace"), st.just("ml-other")),
    st.tuples(st.just("environments.staging.overrides.compute"), st.just({"mem": "3Gi"})),
    st.tuples(st.just("environments.staging.overrides.autoscaling"), st.just({"max_replicas": 9})),
    st.tuples(
        st.just("environments.staging.overrides.update_strategy"), st.just({"type": "Recreate"})
    ),
    st.tuples(st.just("environments.staging.protected"), st.booleans()),
    st.tuples(st.just("environments.staging"), st.none()),
    st.tuples(st.just("gitops.mode"), st.just("manifests")),
    st.tuples(st.just("default_team"), st.just("vision")),
    st.tuples(st.just("policy.hosts"), st.just([])),
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(NAMES), EDITS) | st.tuples(st.just(""), PROJECT_EDITS), max_size=4
)
GONE = st.sets(st.sampled_from(["forest", "painter"]), max_size=1)
PREDICTORS = st.sampled_from([PREDICTOR, PREDICTOR + "# again\n", "x = 1\n", "class\n"])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("any") / "source")


def states(source: Source, edits: Any, gone: set[str], predictor: str) -> None:
    """The documents after the edits, in the checkout."""
    source.resets()
    for name, (path, value) in edits:
        if not name:
            source.configures(path, copy.deepcopy(value))
            continue
        if name not in source.apis:
            source.adds(name, "iris")
        source.sets(name, path, copy.deepcopy(value))
    for name in gone:
        source.removes(name)
    source.text("iris/predictor.py", predictor)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits=CHANGES, gone=GONE, predictor=PREDICTORS)
def test_a_check_ends_says_the_same_twice_and_knows_what_restarts(source, edits, gone, predictor):
    states(source, edits, gone, predictor)
    review = source.checked()
    text = comment(review)
    assert len(text) <= 30_000
    assert text == comment(review)
    assert list(terminal_lines(review))
    if not review.errors:
        for release in review.releases:
            if release.action == "modify":
                assert_rollout(release)
    commit = source.commits()
    again = source.checked(head=commit)
    assert facts(again) == facts(review)
    # From the change to itself nothing changes.
    nothing = source.checked(head=commit, base=commit)
    assert nothing.releases == ()
    assert "leaves every release as it is" in comment(nothing) or nothing.errors


def assert_rollout(release: ReleaseReview) -> None:
    said, before, after = release.rollout, release.before, release.after
    assert before and before.spec
    assert after and after.spec
    places = [(side.spec.cluster, side.spec.namespace) for side in (before, after)]
    if said.pods.startswith("moves"):
        assert said.downtime and said.restarts
    else:
        assert places[0] == places[1]
        assert_as_the_controller_does(said, before, after)


def facts(review: Review) -> Any:
    found = dict(review_facts(review))
    del found["head"], found["base"]
    return found


@pytest.mark.parametrize("count", [1, 60, 200])
def test_the_comment_has_room_for_any_number_of_releases(tmp_path, count):
    source = Source(tmp_path / "source")
    for number in range(count):
        source.apis[f"api-{number:04}"] = {
            **copy.deepcopy(APIS["forest"]),
            "name": f"api-{number:04}",
            "labels": {"text": "x" * 60},
        }
        source.folders[f"api-{number:04}"] = "many"
    source.text(
        "many/api.yaml",
        yaml.safe_dump([a for n, a in source.apis.items() if n.startswith("api-")]),
    )
    review = source.checked()
    for limit in (4_000, 30_000, 65_000):
        text = comment(review, limit=limit)
        assert len(text) <= limit
        assert text.startswith("### gitops-ml check\n\n**This change adds ")
        assert text.rstrip().endswith("nothing of the change was executed.</sub>")
        assert text.count("<details>") == text.count("</details>")
        assert "<" not in unfolded(text)
        # They differ in their names only.
        assert text.count("<details>") == 1
