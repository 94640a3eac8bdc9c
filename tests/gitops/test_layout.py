"""Where everything is in a GitOps repository."""

from __future__ import annotations

import pytest

from gitops_ml.gitops import layout


def test_a_charts_file_is_known_by_its_path():
    chart = layout.chart_directory("predictor", "1.2.0")
    assert layout.chart_of(f"{chart}/templates/deployment.yaml") == chart


@pytest.mark.parametrize(
    "path", ["charts/predictor/README.md", "charts/predictor/1.2.0", "releases/a/b/values.yaml"]
)
def test_other_paths_are_no_charts(path):
    assert layout.chart_of(path) is None


def test_environments_and_teams_do_not_share_a_file():
    assert layout.application_set_path("projects") != layout.app_project_path("x")
    assert layout.app_project_path("prod") != layout.application_set_path("prod")
