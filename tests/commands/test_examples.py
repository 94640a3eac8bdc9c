"""Every example is valid, renders what `tests/golden` holds, and works.

The golden files are refreshed with

    GITOPS_ML_UPDATE_GOLDEN=1 python -m pytest tests/commands/test_examples.py

and their difference is read before it is committed. Ids that follow from the runtime's code, and so
change with each of its commits, are written there as `<content hash>` and the like.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gitops_ml.gitops.release_files import objects_text
from tests.support.local_server import serving
from tests.support.person import written_below

UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/api.yaml"))
MADE = ("__pycache__", "*.joblib")


@pytest.fixture
def example(ann):
    """The folder of an example, as somebody finds it who has just fetched it."""

    def copied(name: str) -> Path:
        folder = ann.home / name
        shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns(*MADE))
        ann.go(folder)
        return folder

    return copied


def test_there_are_examples():
    assert {"container", "gpu-text-generator", "iris-classifier"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_without_a_warning(ann, example, name):
    example(name)
    result = ann.runs("validate", "--strict")
    assert (result.code, "0 errors, 0 warnings" in result.out) == (0, True), result


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_the_lock_of_its_requirements(ann, example, name):
    """`gitops-ml lock` in its folder mends it; the requirements of the runtime count, too."""
    example(name)
    result = ann.runs("lock", "--check")
    assert result.code == 0, result


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_points_editors_at_our_schemas(name):
    for file in ("api.yaml", "gitops-ml.yaml"):
        first = (ROOT / "examples" / name / file).read_text().splitlines()[0]
        schema = first.removeprefix("# yaml-language-server: $schema=")
        assert (ROOT / "examples" / name / schema).is_file(), first


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_renders_what_golden_holds(ann, example, name):
    pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")
    example(name)
    rendered = rendering(ann)
    golden = GOLDEN / name
    if UPDATE:
        shutil.rmtree(golden, ignore_errors=True)
        for path, text in rendered.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_text(text)
    held = {
        path.relative_to(golden).as_posix(): text.decode()
        for path, text in written_below([golden]).items()
    }
    assert rendered == held, "refresh with GITOPS_ML_UPDATE_GOLDEN=1 and read the difference"


def rendering(ann) -> dict[str, str]:
    """The files but for the chart's, and the objects of each release."""
    result = ann.runs("render", "--offline", "--manifests", "-o", "json")
    assert result.code == 0, result
    files = {p: t for p, t in result.json["files"].items() if not p.startswith("charts/")}
    for directory, objects in result.json["objects"].items():
        files[f"{directory}/objects.yaml"] = objects_text(objects).decode()
    names = _placeholders(result.json["releases"])
    return {path: _replaced(text, names) for path, text in files.items()}


def _placeholders(releases) -> dict[str, str]:
    """What changes although no example does, and what is written in its place."""
    found = {}
    for release in releases:
        where = f"{release['api']} in {release['environment']}"
        found[release["deployment_id"]] = f"<deployment id of {where}>"
        if release["content_hash"]:
            # Quoted where it begins with a digit.
            found[f'"{release["content_hash"]}"'] = "<content hash>"
            found[release["content_hash"]] = "<content hash>"
            found[f"h-{release['content_hash'][:20]}"] = "<content hash tag>"
    return found


def _replaced(text: str, names: dict[str, str]) -> str:
    for value, name in names.items():
        text = text.replace(value, name)
    # The annotation that starts new pods when the settings change, and the name of the Job that tries them: hashes
    # over the deployment id.
    text = re.sub(r"-preflight-[0-9a-f]{8}\b", "-preflight-<hash>", text)
    return re.sub(r"(checksum/[a-z-]+: )\S+", r"\1<checksum>", text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_carries_our_chart_as_it_is(ann, example, name):
    example(name)
    result = ann.runs("render", "--offline", "--to", "../rendered")
    assert result.code == 0
    (chart,) = (ann.home / "rendered/charts/predictor").iterdir()
    ours = ROOT / "charts/predictor"
    assert {p.relative_to(chart): t for p, t in written_below([chart]).items()} == {
        p.relative_to(ours): t for p, t in written_below([ours]).items()
    }


def test_the_iris_example_trains_and_tells_flowers_apart(example):
    folder = example("iris-classifier")
    output = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    accuracy = re.search(r"accuracy (0\.\d+)", output)
    assert accuracy
    assert float(accuracy[1]) > 0.9
    with serving(cwd=folder) as server:
        flower = json.loads((folder / "sample.json").read_text())
        assert server.predicts(flower)["label"] == "setosa"
        large = {**flower, "petal_length": 6.0, "petal_width": 2.3}
        assert server.predicts(large)["label"] == "virginica"


def test_the_text_example_goes_on_with_a_prompt(example):
    folder = example("gpu-text-generator")
    with serving(cwd=folder) as server:
        sample = json.loads((folder / "sample.json").read_text())
        text = server.predicts(sample)["text"]
        assert text.startswith(sample["prompt"])
        assert len(text) > len(sample["prompt"])
