"""`gitops-ml render`: the files and objects of a release, on the terminal or in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from gitops_ml.delivery.rendering import refuse_unrenderable
from gitops_ml.errors import InvalidDocument, ProgramFailed
from gitops_ml.gitops.release_files import Release
from gitops_ml.helm.charts import Chart
from gitops_ml.system.cache import Seal
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.clients import Clients
from tests.support.git_servers import git
from tests.support.person import container_api, finished, predictor_api, written_below
from tests.support.pipeline import api, helm, image_of, resolved, text_of


def test_a_folder_gets_what_the_gitops_repository_would_get(ann):
    ann.has(container_api("iris"), predictor_api("answer"))
    ann.runs("render", "--offline", "--to", "../rendered")
    ann.deploys("--offline", "--by-tag")
    rendered = ann.home / "rendered"
    assert {path.relative_to(rendered).as_posix() for path in written_below([rendered])} == set(
        ann.paths()
    )
    for path in ann.paths():
        assert git("hash-object", rendered / path) == git(
            "rev-parse", f"main:{path}", cwd=ann.gitops
        )


def test_rendering_again_writes_nothing(ann):
    ann.has(container_api("iris"))
    first = ann.runs("render", "--to", "../rendered")
    second = ann.runs("render", "--to", "../rendered")
    assert first.out == second.out
    count = len(written_below([ann.home / "rendered"]))
    assert (first.err, second.err) == (
        f"{count} of {count} files written to ../rendered\n",
        f"0 of {count} files written to ../rendered\n",
    )


def test_the_terminal_gets_values_and_releases(ann):
    ann.has(container_api("iris"))
    result = ann.runs("render", "-e", "staging")
    assert [line for line in result.out.splitlines() if line.startswith("# ")] == [
        "# releases/staging/iris/release.yaml",
        "# releases/staging/iris/values.yaml",
    ]


def test_manifests_are_one_stream_of_yaml(ann):
    pytest.importorskip("helm_python")
    ann.has(container_api("iris"), container_api("roses"))
    objects = list(yaml.safe_load_all(ann.runs("render", "--manifests", "-e", "staging").out))
    deployments = [item["metadata"]["name"] for item in objects if item["kind"] == "Deployment"]
    assert deployments == ["iris", "roses"]


def test_json_holds_files_objects_and_releases(ann):
    pytest.importorskip("helm_python")
    ann.has(container_api("iris"))
    result = ann.runs("render", "-e", "staging", "--manifests", "-o", "json").json
    streamed = ann.runs("render", "-e", "staging", "--manifests").out
    assert result["objects"] == {"releases/staging/iris": list(yaml.safe_load_all(streamed))}
    (release,) = result["releases"]
    described = yaml.safe_load(result["files"]["releases/staging/iris/release.yaml"])
    assert release["deployment_id"] == described["deployment_id"]
    assert release["image"] == container_api("iris")["container"]["image"]


def test_without_a_project_file_it_works_with_defaults(ann):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").unlink()
    result = ann.runs("render", "-o", "json")
    assert result.code == 0
    assert not [path for path in result.json["files"] if path.startswith("argocd/")]


def test_it_works_where_git_is_not_installed(ann, monkeypatch):
    """Only the source is unknown then."""
    ann.has(container_api("iris"))
    (ann.home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(ann.home / "bin"))
    result = finished("render", "-o", "json", cwd=ann.project)
    assert result.returncode == 0, result.stderr
    text = json.loads(result.stdout)["files"]["releases/staging/iris/release.yaml"]
    assert yaml.safe_load(text)["provenance"]["commit"] is None


def test_deploy_says_that_git_is_not_installed(ann, monkeypatch):
    ann.has(container_api("iris"))
    (ann.home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(ann.home / "bin"))
    result = finished("deploy", cwd=ann.project)
    assert result.returncode == 4
    assert "git is not on PATH" in result.stderr
    assert "Traceback" not in result.stderr


def test_from_elsewhere_the_same_comes_out(ann):
    """Where one stands does not enter a release."""
    ann.has(container_api("iris"), folder=ann.project)
    ann.has(predictor_api("answer"), file="apis/answer/api.yaml")
    here = ann.runs("render", "--offline", "-o", "json").json["files"]
    ann.go(ann.home)
    there = ann.runs("render", "project", "--offline", "-o", "json").json["files"]
    ann.go(ann.project / "apis")
    named = ann.runs("render", "..", "--offline", "-o", "json").json["files"]
    assert here == there == named


def test_hash_seeds_time_zones_and_locales_do_not_matter(ann):
    ann.has(container_api("iris"), predictor_api("answer"))
    outputs = set()
    for number, zone, locale in ((0, "UTC", "C"), (1, "Asia/Tokyo", "C.UTF-8")):
        env = {"PYTHONHASHSEED": str(number), "TZ": zone, "LC_ALL": locale}
        env["GITOPS_ML_CACHE"] = str(ann.home / f"cache-{number}")
        result = finished("render", "--offline", "-o", "json", cwd=ann.project, env=env)
        assert result.returncode == 0, result.stderr
        outputs.add(result.stdout)
    assert len(outputs) == 1


def test_neither_library_nor_program_of_helm_names_both_ways(ann):
    """`--manifests` is all that needs Helm."""
    ann.has(container_api("iris"))
    code = (
        "import sys; sys.modules['helm_python'] = None\n"
        "from gitops_ml.cli.main import main; main(sys.argv[1:])"
    )
    (ann.home / "bin").mkdir()
    (ann.home / "bin/git").symlink_to(git("--exec-path") + "/git")

    def rendered(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, "render", *arguments], cwd=ann.project,
            env={**os.environ, "PATH": str(ann.home / "bin")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    result = rendered("--manifests")
    assert result.returncode == 2
    assert "gitops-ml[helm]" in result.stderr
    assert "helm on PATH" in result.stderr
    assert rendered().returncode == 0


def test_a_file_of_settings_that_enters_the_image_is_told(ann):
    ann.has(predictor_api("iris"))
    (ann.project / ".env").write_text("TOKEN=x\n")
    for verb in ("render", "diff"):
        result = ann.runs(verb, "--offline")
        assert result.code == 0, result
        assert result.err.count(".env: goes into the image") == 1


SENTENCE = "autoscaling.minReplicas (5) is more than maxReplicas (1)"


def release(name: str, **broken) -> Release:
    """A release whose values were not checked."""
    spec, text = resolved(api(name=name)), text_of(api(name=name))
    scaling = (
        '"minReplicas": 5, "maxReplicas": 1' if broken else '"minReplicas": 1, "maxReplicas": 100'
    )
    data = text.data.replace('"minReplicas": 1, "maxReplicas": 100', scaling)
    return Release(
        name=name,
        environment="staging",
        team="ml",
        namespace="ml-staging",
        image=image_of(spec),
        content_hash=None,
        chart=Chart("predictor", "1.0.0", "1", ()),
        text=type(text)(text.deployment_id, text.values, text.facts, data),
    )  # fmt: skip


@pytest.fixture
def memory(tmp_path) -> Memory:
    return Memory(tmp_path, seal=Seal(b"0" * 32))


def test_every_release_that_the_chart_refuses_is_named_with_its_sentence(memory):
    releases = [release("iris", broken=True), release("roses"), release("lilies", broken=True)]
    with pytest.raises(InvalidDocument) as caught:
        refuse_unrenderable(releases, helm=helm(), memory=memory)
    assert [str(each) for each in caught.value.problems] == [
        f"releases/staging/{name}/values.yaml: the chart predictor refuses the release {name}: {SENTENCE}"
        for name in ("iris", "lilies")
    ]


def test_what_was_rendered_once_is_not_rendered_again(memory):
    class Counting:
        calls = 0

        def manifests(self, chart, releases):
            self.calls += len(releases)
            return helm().manifests(chart, releases)

    engine = Counting()
    for _ in range(2):
        refuse_unrenderable([release("iris")], helm=engine, memory=memory)
    assert engine.calls == 1


@pytest.mark.parametrize("command", [("deploy",), ("diff",), ("diff", "--manifests")])
def test_nothing_is_committed_that_helm_refuses(ann, monkeypatch, command):
    class Refusing:
        def manifests(self, chart, releases):
            failure = f"execution error at (a.yaml:1:2): {SENTENCE}\n"
            return [ProgramFailed(("helm",), 1, failure) for _ in releases]

    monkeypatch.setattr(Clients, "helm", Refusing())
    ann.has(container_api("iris"))
    result = ann.runs(*command, "-e", "staging")
    assert (result.code, ann.commits()) == (3, 0)
    assert f"the chart predictor refuses the release iris: {SENTENCE}" in result.err
