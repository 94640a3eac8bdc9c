"""The deployment id: the same for the same pods anywhere, another for whatever decides them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitops_ml.gitops.release_yaml import deployment_id
from gitops_ml.helm.charts import Chart
from gitops_ml.oci.reference import ImageRef
from tests.support.pipeline import DIGEST, PROJECT, api, merged, project_of, text_of

ROOT = Path(__file__).parents[2]

MANIFEST = """\
- name: iris
  kind: RealtimeAPI
  predictor:
    path: predictor.py
    config: {threshold: 0.5, names: [a, b]}
    env: {A: "1", B: "2"}
  compute: {cpu: 1000m, mem: 1024Mi}
  autoscaling: {min_replicas: 1, max_replicas: 5, window: 60s}
"""
PROGRAM = """\
import sys
from tests.support.pipeline import text_of
print(text_of(sys.stdin.read()).deployment_id)
"""


def id_of(words: str | dict[str, Any], **options: Any) -> str:
    return text_of(words, **options).deployment_id


def test_an_id_is_the_apis_name_and_twelve_digits() -> None:
    assert re.fullmatch(r"iris-[0-9a-f]{12}", id_of(MANIFEST))
    longest = "n" * 40
    assert len(id_of(api(name=longest))) <= 63


def test_the_id_of_a_known_release_never_changes() -> None:
    """Ids are in labels, logs and events that outlive a version of the tool."""
    assert deployment_id("iris", {"a": [1, "ü"], "b": None}) == "iris-0315e7da7dad"


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_id_is_the_same_in_another_process(seed: str) -> None:
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=MANIFEST, capture_output=True, text=True, check=True, env=environ, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == id_of(MANIFEST)


# -- what does not reach the pods ------------------------------------------------------------------

SAME = {
    "comments": MANIFEST.replace("  compute:", "  # more of it?\n  compute:  # all\n  "),
    "order": """\
- kind: RealtimeAPI
  autoscaling: {window: 60s, max_replicas: 5, min_replicas: 1}
  compute: {mem: 1024Mi, cpu: 1000m}
  predictor:
    env: {B: "2", A: "1"}
    config: {names: [a, b], threshold: 0.5}
    path: predictor.py
  name: iris
""",
    "quantities": MANIFEST.replace("1000m", '"1"').replace("1024Mi", "1073741824"),
    "durations": MANIFEST.replace("60s", "1m0s"),
    "defaults": MANIFEST
    + """\
  labels: {}
  annotations: {}
  team: null
  update_strategy: {type: null, max_surge: 25%, max_unavailable: 25%}
  networking: {endpoint: iris/, hosts: [], visibility: public, timeout: 60s}
  probes: {startup: 600s, drain_delay: 5s, grace: 30s}
  secrets: []
  monitoring: null
  environments: {}
""",
    "an older kind-less spelling": MANIFEST.replace("  kind: RealtimeAPI\n", "").replace(
        "  autoscaling: {min_replicas: 1,",
        "  endpoint: /iris\n  autoscaling: {target_replica_concurrency: 1, min_replicas: 1,",
    ),
    "handler": MANIFEST.replace("  predictor:", "  handler:"),
    "another environment": MANIFEST + "  environments: {production: {compute: {cpu: '7'}}}\n",
    "an override that says the same": MANIFEST + "  environments: {staging: {compute: {cpu: 1}}}\n",
}


@pytest.mark.parametrize("case", SAME)
def test_what_does_not_reach_the_pods_does_not_change_the_id(case: str) -> None:
    assert SAME[case] != MANIFEST
    assert id_of(SAME[case]) == id_of(MANIFEST)


def test_numbers_that_are_equal_are_written_alike() -> None:
    def logged(rate: float) -> dict[str, Any]:
        return api(
            predictor={"prediction_log": {"sample_rate": rate}},
            autoscaling={"target_in_flight": 4 * rate, "max_upscale_factor": 2 * rate},
        )

    assert id_of(logged(1)) == id_of(logged(1.0))


def test_old_spellings_are_the_same_release() -> None:
    old = {
        "name": "iris",
        "kind": "RealtimeAPI",
        "pod": {
            "port": 8000,
            "containers": [{"name": "api", "image": "a/b:1", "compute": {"cpu": 1}}],
        },
        "node_groups": ["large"],
        "autoscaling": {"target_in_flight": 3},
    }
    new = {
        "name": "iris",
        "kind": "RealtimeAPI",
        "container": {"port": 8000, "image": "a/b:1"},
        "compute": {"cpu": "1000m", "node_groups": ["large"]},
        "autoscaling": {"target_in_flight": 3.0},
    }
    assert id_of(old) == id_of(new)


def test_the_tag_of_a_digest_reaches_nothing() -> None:
    image = ImageRef("ghcr.io/acme/ml/iris", "h-1", DIGEST)
    other = ImageRef("ghcr.io/acme/ml/iris", "h-2", DIGEST)
    assert id_of(MANIFEST, image=image) == id_of(MANIFEST, image=other)


@pytest.mark.parametrize(
    "words",
    [
        {"project": "other"},
        {"gitops": {"repository": "https://elsewhere.example/x.git"}},
        {"environments": {"production": {"namespace": "elsewhere"}}},
        {"teams": {"ml": {"groups": ["acme:ml"]}}},
    ],
    ids=["project", "gitops", "another environment", "groups"],
)
def test_other_fields_of_the_project_do_not_change_the_id(words: Any) -> None:
    assert id_of(MANIFEST, project=project_of(merged(PROJECT, words))) == id_of(MANIFEST)


# -- what decides the pods: each field of the manifest is in tests/pipeline/test_pods.py -----------


@pytest.mark.parametrize(
    "changes",
    [
        {"image": ImageRef("ghcr.io/acme/ml/iris", "h-1", "sha256:" + "0" * 64)},
        {"image": ImageRef("ghcr.io/acme/other/iris", "h-1", DIGEST)},
        {"chart": Chart("predictor", "1.0.0", "2", ())},
        {"environment": "production"},
    ],
    ids=["digest", "repository", "pod version of the chart", "environment"],
)
def test_image_pod_template_and_environment_change_the_id(changes: dict[str, Any]) -> None:
    assert id_of(MANIFEST, **changes) != id_of(MANIFEST)


def test_a_chart_that_makes_the_same_pods_keeps_the_id() -> None:
    newer = Chart("predictor", "1.1.0", "1", ())
    assert id_of(MANIFEST, chart=newer) == id_of(MANIFEST)
    assert text_of(MANIFEST, chart=newer).facts != text_of(MANIFEST).facts
