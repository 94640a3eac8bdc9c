"""Overrides of an environment are laid over the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.manifest_parts import IMAGE, container
from tests.support.pipeline import PROJECT, api, errors_of, merged, project_of, rendered

if TYPE_CHECKING:
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
