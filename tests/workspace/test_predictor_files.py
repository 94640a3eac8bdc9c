"""`validate` reads predictors and their requirements, and executes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gitops_ml.packages.installed import missing_modules
from gitops_ml.system.cache import Seal
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.predictor_files import source_problems
from tests.support.pipeline import api, manifests_of, project_of

if TYPE_CHECKING:
    from pathlib import Path

PREDICTOR = "class PythonPredictor:\n    def predict(self, payload):\n        return 1\n"


def memory(folder: Path) -> Memory:
    return Memory(folder, seal=Seal(b"0" * 32))


def problems(folder: Path, source: str, files=(), **sections) -> list[str]:
    (folder / "predictor.py").write_text(source)
    for name, text in dict(files).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (manifest,) = manifests_of(api(**sections))
    found = source_problems([(manifest, folder)], project_of(), memory(folder))
    return [str(each).replace(f"{folder}/", "") for each in found]


def test_what_is_wrong_has_the_place_in_the_source(tmp_path):
    source = PREDICTOR.replace("payload", "data")
    (found,) = problems(tmp_path, source)
    assert found.startswith("predictor.py:2:23: PythonPredictor.predict: unknown argument 'data'")
    (found,) = problems(tmp_path, "class A(:\n")
    assert found.startswith("predictor.py:1:9: this is not Python: ")


def test_what_the_whole_source_lacks_is_at_the_manifest(tmp_path):
    (found,) = problems(tmp_path, PREDICTOR, predictor={"class_name": "Iris"})
    assert "iris.predictor.class_name: predictor.py: the source has no class 'Iris'" in found


def test_each_environment_is_read(tmp_path):
    override = {"staging": {"predictor": {"path": "other.py"}}}
    (found,) = problems(tmp_path, PREDICTOR, {"other.py": "class A(:\n"}, environments=override)
    assert found.startswith("other.py:1:9: this is not Python")
    (found,) = problems(
        tmp_path, PREDICTOR, environments={"staging": {"predictor": {"class_name": "Iris"}}}
    )
    assert "the source has no class 'Iris'" in found


def test_a_module_without_a_requirement_is_a_warning(tmp_path):
    source = (
        "import sklearn.svm\nimport json\nimport starlette\nimport cortex_internal\n"
        f"from features import x\n{PREDICTOR}"
    )
    found = problems(tmp_path, source, {"features.py": ""})
    assert found == [
        "predictor.py:1:1: warning: no requirement brings the module 'sklearn'; add scikit-learn to requirements.txt"
    ]
    assert problems(tmp_path, source, {"requirements.txt": "scikit-learn==1.5.0\n"}) == []


@pytest.mark.parametrize(
    ("files", "sections"),
    [
        ({"requirements.txt": "-e ./lib\n"}, {}),
        ({"requirements.txt": "nothing @ git+https://git.acme.example/nothing\n"}, {}),
        ({"conda-packages.txt": "sklearn\n"}, {}),
        ({"dependencies.sh": "pip install sklearn\n"}, {}),
        ({}, {"predictor": {"image": "ghcr.io/acme/base:1"}}),
        ({"src/sklearn.py": ""}, {"predictor": {"python_path": "src"}}),
        ({"sklearn/svm.py": ""}, {}),
        ({"requirements.txt": "scikit-learn\n", "pylock.toml": "broken"}, {}),
    ],
    ids=["editable", "address", "conda", "shell", "image", "path", "namespace", "lock"],
)
def test_what_may_bring_a_module_is_no_warning(files, sections, tmp_path):
    assert problems(tmp_path, f"import sklearn.svm\n{PREDICTOR}", files, **sections) == []


def test_a_dependency_of_a_requirement_counts():
    # hypothesis is installed here and brings sortedcontainers.
    assert missing_modules(["sortedcontainers"], {"hypothesis"}, is_locked=False) == {}
    assert missing_modules(["sortedcontainers"], {"hypothesis"}, is_locked=True) == {
        "sortedcontainers": "sortedcontainers"
    }
    # What is not installed here may bring numpy, but hardly this.
    wanted = ["numpy", "surely_no_module"]
    assert missing_modules(wanted, {"no-such-distribution"}, is_locked=False) == {
        "surely_no_module": "surely-no-module"
    }
    assert (
        missing_modules(["google", "cv2", "yaml"], {"opencv-python", "pyyaml"}, is_locked=True)
        == {}
    )


def test_what_is_missing_or_leaves_the_project_is_not_read(tmp_path):
    (manifest,) = manifests_of(api())
    given = [(manifest, tmp_path)]
    assert list(source_problems(given, project_of(), memory(tmp_path))) == []
    (tmp_path / "predictor.py").symlink_to("/etc/passwd")
    assert list(source_problems(given, project_of(), memory(tmp_path))) == []


def test_a_source_is_judged_once(tmp_path, monkeypatch):
    first = problems(tmp_path, PREDICTOR.replace("payload", "data"))
    monkeypatch.setattr("gitops_ml.workspace.predictor_files.judge_source", None)
    assert problems(tmp_path, PREDICTOR.replace("payload", "data")) == first


@pytest.mark.parametrize("override", [None, {}, {"predictor": None}, {"predictor": {"env": None}}])
def test_an_override_without_fields_changes_nothing(tmp_path, override):
    assert problems(tmp_path, PREDICTOR, environments={"staging": override}) == []
