"""One call reports the errors of every layer: of the shape, of the rules, and of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.commands.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """\
project: cases
gitops: {repository: "https://git.acme.example/gitops.git"}
environments:
  staging: {namespace: ml-staging}
  production: {namespace: ml-production}
"""
MANIFEST = """\
- name: iris
  kind: RealtimeAPI
  predictor: {path: predictor.py, env: {GITOPS_ML_X: "1"}, dependencies: {pip: missing.txt}}
  autoscaling: {max_replica: 3, min_replicas: 200}
  compute: {mem: 512}
  secrets: [{env: A, name: b}]
  environments:
    production: {networking: {timeout: soon}, labels: {helm.sh/chart: x}}
- name: roses
  kind: RealtimeAPI
  predictor: {path: nowhere.py}
"""


def errors(folder: Path, manifest: str, project: str = PROJECT) -> list[str]:
    (folder / "gitops-ml.yaml").write_text(project)
    (folder / "api.yaml").write_text(manifest)
    (folder / "predictor.py").write_text("class A:\n def predict(self, x): pass\n")
    (found,) = validate([folder])
    return [str(each).replace(f"{folder}/", "") for each in sorted(found.problems.errors)]


def test_errors_of_every_layer_are_reported_at_once(tmp_path: Path) -> None:
    found = errors(tmp_path, MANIFEST)
    for sentence in (
        "iris.predictor.env.GITOPS_ML_X: names that begin with GITOPS_ML_ are reserved",
        "iris.predictor.dependencies.pip: there is no file 'missing.txt'",
        "iris.autoscaling.max_replica: unknown key; did you mean 'max_replicas'?",
        "iris.compute.mem: 512 bytes is less than 20Mi",
        "iris.secrets[0]: 'key' is missing",
        "iris.environments.production.networking.timeout: 'soon' is not valid",
        "iris.environments.production.labels['helm.sh/chart']: gitops-ml sets this label",
        "roses.predictor.path: there is no file 'nowhere.py'",
        "predictor.py:2:20: A.predict: unknown argument 'x'",
    ):
        assert any(sentence in each for each in found), (sentence, found)
    # What follows from a section whose shape is wrong is not known: 200 replicas may be few.
    assert len(found) == 9
    assert not any("min_replicas (200)" in each for each in found)


def test_an_api_whose_name_is_wrong_has_no_further_errors(tmp_path: Path) -> None:
    (found,) = errors(tmp_path, "- {name: Iris, kind: RealtimeAPI, predictor: {path: other.py}}\n")
    assert "small letters, digits and '-'" in found


def test_a_wrong_project_does_not_hide_what_is_wrong_with_apis(tmp_path: Path) -> None:
    found = errors(tmp_path, MANIFEST, "project: cases\n")
    assert any("environments" in each for each in found)
    assert any("unknown argument 'x'" in each for each in found)
    assert any("unknown key" in each for each in found)
