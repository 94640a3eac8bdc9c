"""`gitops-ml base update`, against a real registry."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from gitops_ml.commands.base import update_bases
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import open_settings
from tests.support.oci import push_tiny_base, registry_of
from tests.support.person import predictor_api

if TYPE_CHECKING:
    from gitops_ml.oci.reference import ImageRef

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def bases(registry, tmp_path):
    """A repository whose tag `1` has moved: before, now."""
    repository = f"{registry.host}/{uuid4().hex}/python"
    client = registry_of()
    before = push_tiny_base(client, repository, "PYTHON_VERSION=3.12.1").image
    return before, push_tiny_base(client, repository, "PYTHON_VERSION=3.12.2").image


def test_what_has_moved_is_shown_and_rewritten_where_it_stands(ann, bases):
    before, now = bases
    ann.has(predictor_api("iris"), predictor_api("roses"))
    project = f"""\
# ours
project: shop
image:
  base: {before}   # since March
  repository: registry.example.org/ml
environments:
  staging: {{namespace: ml}}
"""
    (ann.project / "gitops-ml.yaml").write_text(project)
    manifest = f"""\
- name: iris
  kind: RealtimeAPI
  predictor: {{path: predictor.py, image: "{before.repository}:1"}} # no digest yet
- name: roses
  kind: RealtimeAPI
  predictor:
    path: predictor.py
    image: {before.repository}@{before.digest}
    config: {{predictor: {{image: {before}}}}}
  environments:
    staging: {{predictor: {{image: {now}}}}}
"""
    (ann.project / "api.yaml").write_text(manifest)

    facts = ann.runs("base", "update", "--check", "-o", "json")
    assert facts.code == 7
    assert [(f["file"], f["line"], f["path"], f["state"]) for f in facts.json["images"]] == [
        ("gitops-ml.yaml", 4, "image.base", "newer"),
        ("api.yaml", 3, "iris.predictor.image", "newer"),
        ("api.yaml", 8, "roses.predictor.image", "no tag"),
        ("api.yaml", 11, "roses.environments.staging.predictor.image", "current"),
    ]
    assert (facts.json["images"][0]["before"], facts.json["images"][0]["after"]) == (
        str(before),
        str(now),
    )
    assert ann.runs("base", "update", "--dry-run").code == 0
    assert (ann.project / "gitops-ml.yaml").read_text() == project

    result = ann.runs("base", "update")
    assert result.code == 0, result
    assert f"{before.digest[:19]}  {now.digest[:19]}  moved" in result.out
    assert (ann.project / "gitops-ml.yaml").read_text() == project.replace(str(before), str(now))
    assert (ann.project / "api.yaml").read_text() == manifest.replace(
        f'"{before.repository}:1"', f'"{now}"'
    )
    assert ann.runs("base", "update", "--check").code == 0
    assert ann.runs("validate").code == 0


def test_a_value_that_is_shared_is_left_to_people_and_nothing_is_written(ann, bases):
    before, _ = bases
    ann.has(predictor_api("iris"))
    project = f"""\
project: &name {before}
image: {{base: *name}}
environments:
  staging: {{namespace: ml}}
"""
    (ann.project / "gitops-ml.yaml").write_text(project)
    manifest = ann.project / "api.yaml"
    manifest.write_text(
        f"- {{name: a, kind: RealtimeAPI, predictor: {{path: predictor.py, image: {before}}}}}\n"
    )
    text = manifest.read_text()
    result = ann.runs("base", "update")
    assert result.code == 2
    assert "gitops-ml.yaml: image.base cannot be changed in place: write" in result.err
    assert (ann.project / "gitops-ml.yaml").read_text() == project
    assert manifest.read_text() == text


def test_a_tag_that_is_gone_is_told(ann, bases):
    before, _ = bases
    ann.has(predictor_api("iris"))
    ann.configures(image={"base": f"{before.repository}:2@{OTHER}"})
    result = ann.runs("base", "update", "--check", "-o", "json")
    assert (result.code, result.json["images"][0]["state"]) == (0, "gone")


def test_a_registry_that_does_not_answer_is_an_error_and_changes_nothing(ann):
    ann.has(predictor_api("iris"))
    ann.configures(image={"base": f"127.0.0.1:1/python:3.12@{OTHER}"})
    before = (ann.project / "gitops-ml.yaml").read_bytes()
    assert ann.runs("base", "update").code == 4
    assert (ann.project / "gitops-ml.yaml").read_bytes() == before


class Moved:
    """A registry where every tag stands for something new."""

    def digest(self, image: ImageRef) -> str:
        assert image.digest is None
        return OTHER


def test_a_default_that_has_moved_is_written_down(ann):
    ann.has(predictor_api("iris"))
    before = (ann.project / "gitops-ml.yaml").read_text()
    clients = Clients(project=open_settings().project, root=ann.project)
    clients.registry = Moved()
    (move,) = update_bases([ann.project], clients=clients)
    assert (move.line, move.path, move.state) == (0, "image.base", "moved")
    line = f"image:\n  base: docker.io/library/python:3.12-slim@{OTHER}\n"
    assert (ann.project / "gitops-ml.yaml").read_text() == before.replace("image:\n", line)
