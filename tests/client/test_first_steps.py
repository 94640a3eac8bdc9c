"""What a person meets who starts with nothing."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from gitops_ml.errors import ServerFailed, UsageError
from tests.support.person import NO_REGISTRY, container_api


@pytest.mark.parametrize(
    "given", [{}, {"gitops_repository": "/nowhere.git"}, {"image_repository": "r.example/ml"}]
)
def test_a_client_without_a_project_names_what_it_needs(ann, given):
    with pytest.raises(UsageError, match=r"no gitops-ml.yaml in .* `gitops-ml init` .* namespace="):
        gml.client("staging", **given)


def test_a_new_project_is_led_to_a_repository_of_its_own(ann):
    made = ann.runs("init", "iris")
    assert "set image.repository and gitops.repository in gitops-ml.yaml" in made.err
    assert "set image.repository" not in ann.runs("init", "spam", "--gitops-repository", "x").err


def test_a_folder_that_is_no_repository_yet_gets_the_command_that_makes_it_one(ann):
    ann.runs("init", "--gitops-repository", str(ann.home / "new.git"))
    result = ann.runs("deploy", "-e", "staging", *NO_REGISTRY)
    assert result.code == 4
    assert f"Create it: git init --bare {ann.home / 'new.git'}" in result.err


def test_the_repository_of_the_example_is_named_as_one(ann, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    ann.runs("init", "iris")
    ann.go(ann.project / "iris")
    result = ann.runs("diff", "-e", "staging", "--offline")
    assert result.code == 4
    assert "writes as an example: set gitops.repository" in result.err


def test_waiting_without_a_cluster_ends_at_once(ann):
    ann.configures()
    api = gml.client("staging", offline=True).create_api(container_api("iris"), pull_request=False)
    with pytest.raises((UsageError, ServerFailed), match="kubeconfig"):
        api.wait(timeout=600)
