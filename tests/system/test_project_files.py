"""Files of a project: opened only where they are regular, inside and of a size that their kind has."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import InvalidDocument
from gitops_ml.image.attestations import read_openapi
from gitops_ml.image.context import read_context
from gitops_ml.image.recipe import PredictorSource
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.system.project_files import CannotRead, open_file, read_file
from gitops_ml.workspace.manifest_files import dependency_problems
from tests.support.projects import predictor_spec, write_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "TOPSECRET"


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail where the block waits for something, such as the writer of a pipe."""

    def late(*_: object) -> None:
        raise AssertionError(f"it is not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _outside(path: Path) -> None:
    (path.parent.parent / "outside.txt").write_text(f"{SECRET}\n")
    path.symlink_to("../outside.txt")


def _by_way_of_a_folder(path: Path) -> None:
    (path.parent.parent / "elsewhere").mkdir()
    (path.parent.parent / "elsewhere" / "x").write_text(SECRET)
    (path.parent / "way").symlink_to("../elsewhere")
    path.symlink_to("way/x")


def _loop(path: Path) -> None:
    (path.parent / "other").symlink_to(path.name)
    path.symlink_to("other")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


def _pipe_behind_a_link(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "a link to a file outside": _outside,
    "a link by way of a linked folder": _by_way_of_a_folder,
    "a link to the environment": lambda path: path.symlink_to("/proc/self/environ"),
    "a link to endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "a link to the terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to standard input": lambda path: path.symlink_to("/dev/stdin"),
    "a link to itself": _loop,
    "a pipe": os.mkfifo,
    "a pipe behind a link": _pipe_behind_a_link,
    "a socket": _socket,
    "a folder": Path.mkdir,
    "a file of 5 GB": _huge,
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "iris", {})


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_file_of_the_project_is_not_read(project: Path, what: str) -> None:
    HOSTILE[what](project / "x.txt")
    with within(10), pytest.raises(OSError, match=r"\S") as caught:
        read_file(project / "x.txt", limit=1 << 20, inside=(project,))
    assert SECRET not in str(caught.value)


NAMES = (
    ".gitopsmlignore", ".dockerignore", ".cortexignore", "requirements.txt",
    "conda-packages.txt", "dependencies.sh", "predictor.py", "other.yaml",
)  # fmt: skip


def _is_hashed(name: str, what: str) -> bool:
    """Whether a file is an input like any other, however large it is."""
    return what == "a file of 5 GB" and name in ("predictor.py", "other.yaml")


@pytest.mark.parametrize(
    ("name", "what"),
    [(name, what) for name in NAMES for what in HOSTILE if not _is_hashed(name, what)],
)
def test_a_context_with_a_hostile_file_is_refused_and_hangs_nowhere(
    project: Path, name: str, what: str
) -> None:
    (project / name).unlink(missing_ok=True)
    (project / name).parent.mkdir(exist_ok=True)
    HOSTILE[what](project / name)
    with within(30):
        try:
            read_context(project, predictor=predictor_spec())
        except InvalidDocument as error:
            assert SECRET not in str(error)
            assert os.fspath(project) in str(error)
        else:  # folders and loops of these names are no files, and mean nothing
            assert what in ("a folder", "a link to itself")


@pytest.mark.parametrize("what", ["a pipe", "a link to endless zeros", "a link to the environment"])
def test_a_folder_whose_manifest_is_hostile_is_looked_into_without_waiting(
    project: Path, what: str
) -> None:
    (project / "sub").mkdir()
    HOSTILE[what](project / "sub" / "api.yaml")
    with within(30), pytest.raises(InvalidDocument, match=r"api\.yaml"):
        read_context(project, predictor=predictor_spec())


@pytest.mark.parametrize("what", HOSTILE)
def test_dependency_files_are_checked_without_being_believed(project: Path, what: str) -> None:
    (project / "requirements.txt").unlink(missing_ok=True)
    HOSTILE[what](project / "requirements.txt")
    text = b"- name: iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n"
    (manifest,) = parse_manifests(read_yaml(text, file="api.yaml"))[0]
    with within(10):
        found = [*dependency_problems(manifest, project)]
    assert len(found) == 1
    assert SECRET not in str(found[0])


@pytest.mark.parametrize(
    "line",
    [
        "-r {outside}", "-c {outside}", "-r{outside}", "--requirement={outside}",
        "--constraint {outside}", "-r file://{outside}", "-r FILE://{outside}",
        "-r file://localhost{outside}", "-r file:{outside}", "-r '{outside}'", "-r \\\n{outside}",
        "-r ../outside.txt", "-r ../../x", "-r lib/../../outside.txt", "-r ..",
        "-r file:../outside.txt", "-r file:%2e%2e/outside.txt", "-r file:lib/%2E%2E/../outside.txt",
        "-r ~/x", "-r ~root/x", "-r ${{HOME}}/x", "-r lib/${{HOME}}", "-r C:\\x", "-r C:/x", "-r c:x",
        "-r \\\\server\\share", "-r ..\\x", "-r\x0b{outside}", "-r\x85{outside}", "-r\u2028{outside}",
        "-r x;/../../outside.txt", "-r more.txt", "{outside}", "./../x.whl", "../x", "name @ {outside}",
        "name@file://{outside}", "name[extra] @ file://{outside}", "name @file:../x", "/x.whl ; os_name",
        "-e {outside}", "-e ..", "--editable=../x", "-f {outside}", "--find-links=file://{outside}",
        "~/x.whl", "file:///x.whl", "${{HOME}}/x.whl",
    ],
)  # fmt: skip
def test_requirements_that_leave_the_project_are_refused_with_their_line(
    project: Path, line: str
) -> None:
    outside = project.parent / "outside.txt"
    outside.write_text(f"{SECRET}\n")
    (project / "lib").mkdir()
    (project / "more.txt").write_text(f"six\n-r {outside}\n")
    (project / "requirements.txt").write_text("six\n" + line.format(outside=outside) + "\n")
    with pytest.raises(InvalidDocument) as caught:
        read_context(project, predictor=predictor_spec())
    (problem,) = caught.value.problems
    name = "more.txt" if "more" in line else "requirements.txt"
    assert (problem.file, problem.line) == (os.fspath(project / name), 2)
    assert "which leaves the project: copy it into it" in problem.message
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("line", ["x~=1.0", "x>=1 # /etc/x", "# -r /etc/x", "-i file:///x"])
def test_what_names_no_path_is_left_to_pip(project: Path, line: str) -> None:
    (project / "requirements.txt").write_text(f"{line}\n")
    assert read_context(project, predictor=predictor_spec()).pip_files == ("requirements.txt",)


def test_links_that_stay_in_the_project_are_read(project: Path) -> None:
    (project / "real.txt").write_text("six\n")
    (project / "requirements.txt").unlink(missing_ok=True)
    (project / "requirements.txt").symlink_to("real.txt")
    assert read_file(project / "requirements.txt", limit=9, inside=(project,)) == b"six\n"


def test_a_file_that_grew_is_not_read_beyond_its_limit(project: Path) -> None:
    file = project / "x.txt"
    file.write_text("x" * 11)
    with pytest.raises(CannotRead, match="11 bytes; at most 10 are read"):
        read_file(file, limit=10)
    with pytest.raises(CannotRead, match="at most 10 are read"):
        read_file(Path("/proc/self/maps"), limit=10)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "x/" * 3000])
def test_names_that_no_disk_has_are_no_traceback(project: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"\S"):
        open_file(project / name)


def test_a_pipe_that_takes_the_place_of_a_file_meanwhile_is_not_waited_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "x.txt"
    file.write_text("x")
    opened = os.open

    def swapped(path: Path, flags: int) -> int:
        file.unlink()
        os.mkfifo(file)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", swapped)
    started = time.monotonic()
    with pytest.raises(CannotRead, match="a named pipe"):
        open_file(file)
    assert time.monotonic() - started < 5


HOSTILE_SOURCES = {
    "parentheses": b"x = " + b"(" * 100_000,
    "minus signs": b"x = " + b"-" * 400_000 + b"1",
    "a long sum": b"x = " + b"1+" * 200_000 + b"1",
    "a tower": b"x = " + b"9**" * 50_000 + b"9",
    "attributes": b"x = a" + b".b" * 200_000,
    "decorators": b"@a\n" * 100_000 + b"class PythonPredictor: ...",
    "a NUL": b"x = 1\0\nclass PythonPredictor: ...",
    "another encoding": b"# coding: punycode\nx = 1",
    "a huge number": b"x = " + b"9" * 400_000,
    "a huge shift": b"x = 1 << 10 ** 9\nclass PythonPredictor: ...",
    "too large": b"#" * (2 << 20),
}


@pytest.mark.parametrize("what", HOSTILE_SOURCES)
def test_a_hostile_predictor_says_nothing_of_its_api_and_ends_soon(
    project: Path, what: str
) -> None:
    (project / "predictor.py").write_bytes(HOSTILE_SOURCES[what])
    context = read_context(project, predictor=predictor_spec())
    with within(60):
        read_openapi(context, PredictorSource(api="iris", path="predictor.py"))
