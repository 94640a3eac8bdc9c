"""Overrides of an environment are laid over the manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.documents.json_schema import dereferenced
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.system.resources import schema_text
from tests.support.manifest_parts import IMAGE, container, env, label
from tests.support.pipeline import PROJECT, api, errors_of, merged, project_of, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.project.project import Project


def test_an_environments_words_about_predictors_leave_containers_alone() -> None:
    overrides = {"predictor": {"log_level": "debug"}, "compute": {"cpu": "1"}}
    project = project_of(merged(PROJECT, {"environments": {"staging": {"overrides": overrides}}}))
    release = rendered(api(**container()), project)
    assert release.all("ConfigMap") == []
    assert release.container["resources"]["requests"]["cpu"] == "1"
    assert rendered(api(), project).settings["logLevel"] == "debug"


@pytest.mark.parametrize(
    ("override", "path", "sentence"),
    [
        (
            {"predictor": {"server_side_batching": {"max_batch_size": 4}}},
            ("predictor", "server_side_batching"),
            "'batch_interval' is missing in staging",
        ),
        ({"monitoring": {"key": "label"}}, ("monitoring",), "'model_type' is missing in staging"),
        (
            {"container": {"image": IMAGE}},
            ("container",),
            "in staging the API has both predictor and container; it must have exactly one",
        ),
        (
            {"predictor": None},
            ("predictor",),
            "in staging the API has neither predictor nor container; it must have exactly one",
        ),
    ],
    ids=["batching", "monitoring", "both", "neither"],
)
def test_what_an_override_leaves_incomplete_is_an_error_at_the_override(
    override: dict[str, Any], path: tuple[str, ...], sentence: str, everything: Project
) -> None:
    (wrong,) = errors_of(api(environments={"staging": override}), everything)
    assert (wrong.path, wrong.message) == (("environments", "staging", *path), sentence)


def test_an_environment_may_run_a_container_in_place_of_a_predictor(everything: Project) -> None:
    override = {"predictor": None, "container": {"image": IMAGE}}
    release = rendered(api(environments={"staging": override}), everything)
    assert release.container["image"] == IMAGE


def nulls(schema: Any, root: Any) -> Iterator[dict[str, Any]]:
    """Words that take back each field below a schema, one at a time; lists are replaced as a whole."""
    schema = dereferenced(root, schema)
    for name, inner in schema.get("properties", {}).items():
        yield {name: None}
        for below in nulls(inner, root):
            yield {name: below}
    if isinstance(schema.get("additionalProperties"), dict):
        yield {"A": None}


API_SCHEMA = json.loads(schema_text("api"))
TAKEN_BACK = [
    words
    for words in nulls(API_SCHEMA["$defs"]["overrides"], API_SCHEMA)
    if not {"definition", "apis"} & words.keys()
]


@pytest.mark.parametrize("words", TAKEN_BACK, ids=json.dumps)
def test_an_override_takes_back_each_field(words: dict[str, Any], everything: Project) -> None:
    is_container = "container" in words
    manifest = api(**(container() if is_container else {}), environments={"staging": words})
    document = document_of([manifest], file="api.yaml")
    _, problems = parse_manifests(document)
    assert not [each for each in problems if each.severity == "error"]
    # A rule may refuse what remains.
    if not errors_of(manifest, everything):
        rendered(manifest, everything)


def test_null_in_an_override_takes_a_key_back(everything: Project) -> None:
    words = api(
        predictor={"env": {"A": "1", "B": "2"}, "config": {"a": 1, "b": None}},
        labels={"b.example/c": "ml"},
        compute={"node_selector": {"b.example/c": "1"}},
        environments={
            "staging": {
                "predictor": {"env": {"A": None, "C": None}, "config": {"a": None}},
                "labels": {"b.example/c": None},
                "compute": {"node_selector": {"b.example/c": None}},
            }
        },
    )
    release = rendered(words, everything)
    assert env(release.container) == {"B": "2", "HOME": "/tmp"}
    assert release.settings["config"] == {"b": None}
    assert "nodeSelector" not in release.pod
    assert label("b.example/c")(release) == {None}
    other = rendered(words, everything, "production")
    assert env(other.container)["A"] == "1"


def test_a_key_without_a_value_outside_of_an_override_is_an_error() -> None:
    _, problems = parse_manifests(
        document_of([api(predictor={"env": {"A": None}})], file="api.yaml")
    )
    (wrong,) = problems
    assert wrong.message == "the value is missing; it must be text"


def test_what_an_override_takes_back_although_it_is_needed_is_an_error_there(
    everything: Project,
) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}}
    words = api(
        **container(readiness_probe=probe),
        environments={"staging": {"container": {"readiness_probe": {"httpGet": {"port": None}}}}},
    )
    (wrong,) = errors_of(words, everything)
    assert wrong.path == (*("environments", "staging", "container", "readiness_probe", "httpGet"),)
    assert wrong.message == "'port' is missing (in staging)"
