"""What a manifest of Cortex means otherwise is stated once in a file, with the field that changes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitops_ml.documents.findings import dotted
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.manifest.cortex_differences import DIFFERENCES, RULE, SHELL_SCRIPT
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.workspace.manifest_files import dependency_problems

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "cortex.md").read_text()
PREDICTOR = {"path": "predictor.py", "config": {"bucket": "models"}}
CONTAINER = {"image": "a/b", "sidecars": [{"name": "c", "image": "d/e"}]}
ANSWERS = {
    ("predictor", "max_queue_length"): 5,
    ("predictor", "max_body_bytes_in_flight"): 2**30,
    ("networking", "timeout"): "30s",
    ("probes",): {"grace": "60s"},
    ("predictor", "cors"): ["*"],
    ("compute", "mem_limit"): "2Gi",
    ("predictor", "writable"): True,
    ("predictor", "python_version"): "3.12",
    ("service_account",): {"annotations": {"a": "b"}},
    ("container", "run_as_user"): 20000,
    ("container", "read_only_root"): False,
    ("container", "max_concurrency"): 2,
    ("autoscaling",): {"max_replicas": 5},
}
"""A value for each field, with which its difference is stated no more."""


def stated(*apis, file="cortex.yaml"):
    text = json.dumps([{"name": f"api-{n}", **api} for n, api in enumerate(apis)])
    read, problems = parse_manifests(read_yaml(text.encode(), file=file))
    assert len(read) == len(apis), problems
    return [(p.path.partition(".")[2], p.severity) for p in problems if p.rule == RULE]


def section_of(difference):
    return "container" if difference.path[0] == "container" else "predictor"


def api_with(difference, answer=None):
    works = section_of(difference)
    api = {works: dict(CONTAINER if works == "container" else PREDICTOR)}
    if difference.path != ("autoscaling",):
        api["kind"] = "RealtimeAPI"
    if answer is not None:
        *above, last = difference.path
        inner = api
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = answer
    return api


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: dotted(each.path))
def test_a_difference_is_stated_once_in_a_file_until_its_field_is_written(difference):
    path = dotted(difference.path)
    api = api_with(difference)
    assert stated(api, api).count((path, "warning")) == 1
    if difference.path in ANSWERS:
        answered = api_with(difference, ANSWERS[difference.path])
        assert (path, "warning") not in stated(answered)
    else:
        assert path == "container.sidecars"  # no field brings the shared folder back
    assert f"| `{path}`" in TABLE


def test_a_manifest_in_current_spelling_and_name_states_none():
    api = {"kind": "RealtimeAPI", "predictor": PREDICTOR}
    assert stated(api, file="api.yaml") == []
    older = {"kind": "RealtimeAPI", "handler": PREDICTOR}
    assert stated(older, file="api.yaml")


def test_other_kinds_state_none():
    assert stated({"kind": "BatchAPI", "predictor": PREDICTOR}) == []


def test_a_script_for_dependencies_is_stated_once(tmp_path):
    (tmp_path / "dependencies.sh").write_text("apt-get install -y x\n")
    text = json.dumps([{"name": n, "kind": "RealtimeAPI", "predictor": PREDICTOR} for n in "ab"])
    for file, times in (("cortex.yaml", 1), ("api.yaml", 0)):
        read, _ = parse_manifests(read_yaml(text.encode(), file=file))
        found = [p for each in read for p in dependency_problems(each, tmp_path)]
        assert [p.message for p in found] == [SHELL_SCRIPT.message] * times
