"""Which files are documents, and what is wrong with files that are none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.workspace.manifest_files import (
    dependency_problems,
    find,
    find_projects,
    label,
    missing_files,
    read_document,
    read_project_file,
)

MANIFEST = "- {name: iris, kind: RealtimeAPI, predictor: {path: predictor.py}}\n"


def write(root, *names, text=MANIFEST):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def names(found, root):
    return [file.relative_to(root).as_posix() for file in found.manifests]


def test_manifests_are_found_below_a_folder_in_a_stable_order(tmp_path, monkeypatch):
    write(tmp_path, "b/api.yaml", "a/deep/api.yml", "api.yaml", "c/cortex.yaml", "b/cortex.yaml")
    write(tmp_path, ".git/api.yaml", "node_modules/x/api.yaml", "env/lib/api.yaml", "x/other.yaml")
    write(tmp_path, "env/pyvenv.cfg")
    monkeypatch.chdir(tmp_path)
    found = find([])
    assert names(found, tmp_path) == ["api.yaml", "a/deep/api.yml", "b/api.yaml", "c/cortex.yaml"]
    assert label(found.manifests[2]) == "b/api.yaml"


def test_a_file_is_taken_whatever_its_name_and_only_once(tmp_path):
    write(tmp_path, "models.yaml")
    file = tmp_path / "models.yaml"
    assert find([file, file]).manifests == (file,)


def test_the_project_file_is_looked_for_upwards_to_the_top_of_the_repository(tmp_path):
    write(tmp_path, "gitops-ml.yaml", "inner/apis/api.yaml")
    assert find([tmp_path / "inner" / "apis"]).project_file == tmp_path / "gitops-ml.yaml"
    (tmp_path / "inner" / ".git").mkdir()
    assert find([tmp_path / "inner" / "apis"]).project_file is None


def test_a_path_that_does_not_exist_is_a_mistake_of_the_call(tmp_path):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        find([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="project file"):
        find([tmp_path], project_file=tmp_path / "gitops-ml.yaml")


def test_a_symlink_that_leaves_the_project_is_refused(tmp_path):
    write(tmp_path, "outside.yaml", "project/inside/other.yaml")
    (tmp_path / "project" / "api.yaml").symlink_to("../outside.yaml")
    with pytest.raises(InvalidDocument, match="leaves the project"):
        find([tmp_path / "project"])
    (tmp_path / "project" / "api.yaml").unlink()
    (tmp_path / "project" / "api.yaml").symlink_to("inside/other.yaml")
    assert len(find([tmp_path / "project"]).manifests) == 1


def test_folders_that_are_symlinks_are_not_searched(tmp_path):
    write(tmp_path, "outside/api.yaml", "project/api.yaml")
    (tmp_path / "project" / "loop").symlink_to(".")
    (tmp_path / "project" / "out").symlink_to("../outside")
    assert names(find([tmp_path / "project"]), tmp_path) == ["project/api.yaml"]


def sentence(file):
    [problem] = read_document(file, label="api.yaml").problems
    return str(problem)


def test_a_huge_file_is_refused_without_reading_it(tmp_path):
    file = tmp_path / "api.yaml"
    with file.open("wb") as opened:
        opened.truncate(50 << 30)
    assert sentence(file).startswith("api.yaml: the file has 53,687,091,200 bytes; at most")


def test_a_pipe_a_folder_and_a_missing_file_are_no_documents(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert sentence(tmp_path / "pipe") == "api.yaml: this is not a regular file"
    assert sentence(tmp_path) == "api.yaml: this is not a regular file"
    assert "cannot be read: No such file" in sentence(tmp_path / "missing")


def test_without_a_project_file_there_is_a_default_project():
    project, problems = read_project_file(None)
    assert project is not None
    assert (list(project.environments), problems) == (["default"], ())


def test_files_that_a_manifest_names_have_to_be_there(tmp_path):
    text = (
        "- name: iris\n  kind: RealtimeAPI\n  predictor:\n    path: predictor.py\n"
        "    python_path: src\n    dependencies: {pip: requirements.txt, conda: null}\n"
    )
    write(tmp_path, "p/api.yaml", text=text)
    document = read_document(tmp_path / "p" / "api.yaml", label="p/api.yaml")
    [manifest], _ = parse_manifests(document)
    assert [str(problem) for problem in missing_files(manifest, tmp_path / "p")] == [
        "p/api.yaml:4:5: iris.predictor.path: there is no file 'predictor.py' beside p/api.yaml",
        "p/api.yaml:5:5: iris.predictor.python_path: there is no folder 'src' beside p/api.yaml",
        "p/api.yaml:6:20: iris.predictor.dependencies.pip: there is no file 'requirements.txt' beside "
        "p/api.yaml",
    ]
    write(tmp_path, "p/requirements.txt", "p/src/x", "secret.py")
    (tmp_path / "p" / "predictor.py").symlink_to("../secret.py")
    assert [problem.message for problem in missing_files(manifest, tmp_path / "p")] == [
        "'predictor.py' is a symlink that leaves the project"
    ]


def test_each_manifest_belongs_to_the_nearest_project_file_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name / "api").mkdir(parents=True)
        (tmp_path / name / "gitops-ml.yaml").write_text("project: x\n")
        (tmp_path / name / "api" / "api.yaml").write_text("- name: x\n")
    found = find_projects([])
    assert [(each.root, each.manifests) for each in found] == [
        (tmp_path / name, (tmp_path / name / "api" / "api.yaml",)) for name in ("a", "b")
    ]
    with pytest.raises(UsageError, match=r"several projects here \(a, b\)"):
        find([])


def test_a_project_inside_another_is_left_to_itself(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "inner"):
        folder.mkdir(exist_ok=True)
        (folder / "gitops-ml.yaml").write_text("project: x\n")
        (folder / "api.yaml").write_text("- name: x\n")
    assert find([tmp_path]).manifests == (tmp_path / "api.yaml",)
    assert find([tmp_path / "inner"]).manifests == (tmp_path / "inner" / "api.yaml",)


def test_passwords_in_requirements_are_found_with_the_manifest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "api.yaml")
    write(tmp_path, "requirements.txt", text="-r pins.txt\n")
    write(tmp_path, "pins.txt", text="\nnumpy @ https://user:hunter2@example.org/numpy.whl\n")
    document = read_document(Path("api.yaml"), label="api.yaml")
    (manifest,), _ = parse_manifests(document)
    (problem,) = dependency_problems(manifest, tmp_path)
    assert (problem.file, problem.line, problem.severity) == ("pins.txt", 2, "error")
    assert "hunter2" not in str(problem)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folders_that_are_not_ours_to_read_are_not_searched():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        write(root, "api.yaml", "closed/api.yaml")
        (root / "closed").chmod(0o700)
        os.seteuid(65534)
        try:
            found = find([root])
        finally:
            os.seteuid(0)
        assert names(found, root) == ["api.yaml"]
