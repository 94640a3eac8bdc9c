"""Every file that a person names is a regular one of limited size: nothing hangs, and memory has a bound."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gitops_ml.errors import UsageError
from gitops_ml.system import project_files
from tests.cli.test_shapes import commands
from tests.support.person import container_api

COMMANDS = {
    "compare": ("compare", "iris-0123", "iris-ba98", "--log", "FILE"),
    "predict": ("predict", "iris", "FILE", "--local"),
    "bench": ("bench", "http://127.0.0.1:9/predict", "FILE"),
    "patch": ("patch", "iris", "FILE", "-e", "staging"),
    "comment": ("comment", "FILE", "--pull-request", "1"),
    "check --traffic": ("check", "--offline", "--base", "HEAD", "--html", "page.html", "--traffic", "FILE"),
    "--project": ("history", "iris", "--project", "FILE"),
    "validate": ("validate", "FILE"),
}  # fmt: skip
OUTPUT = {"bench.svg", "check.html", "export.directory", "model pull.directory", "init.directory"}
FOLDERS = {
    "bootstrap.folder",
    "render.target",
    "check.folder",
    "check.advisories",
    "model push.directory",
}


def test_the_table_has_every_command_that_takes_a_file():
    from gitops_ml.cli.main import gitops_ml

    found = (
        {
            f"{name}.{each.name}"
            for name, command in commands(gitops_ml).items()
            for each in command.params
            if each.type.name in ("file", "path", "filename", "directory")
        }
        - OUTPUT
        - FOLDERS
    )
    own = {each for each in found if not each.endswith((".project_file", ".paths"))}
    assert own == {
        "bench.file", "compare.logs", "comment.file", "patch.file", "predict.file",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "missing"])
def test_what_is_no_regular_file_is_refused_with_its_name(ann, name, kind):
    ann.configures()
    ann.has(container_api("iris"))
    ann.keeps_source_in_git()
    path = {"device": Path("/dev/zero")}.get(kind, ann.home / "odd.yaml")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    if (name, kind) == ("validate", "folder"):
        return
    result = ann.runs(*(str(path) if each == "FILE" else each for each in COMMANDS[name]))
    assert result.code in (2, 3), result
    assert path.name in result.err + result.out, result


def test_a_line_and_a_file_have_a_most(tmp_path, monkeypatch):
    monkeypatch.setattr(project_files, "LONGEST_LINE", 10)
    file = tmp_path / "log"
    file.write_text("short\n" + "long" * 10)
    with pytest.raises(UsageError, match="its line 2 has more than 10 bytes"):
        list(project_files.read_lines(file))
    with pytest.raises(UsageError, match="has 46 bytes; at most 20 are read"):
        project_files.read_named(file, limit=20)


def test_an_endless_input_ends(ann, monkeypatch):
    ann.configures()
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        result = ann.runs("patch", "iris", "-", "-e", "staging")
    assert (result.code, "the standard input has more than" in result.err) == (2, True), result


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\n")
    os.close(writer)
    yield Path(f"/dev/fd/{reader}")
    os.close(reader)


@pytest.mark.parametrize(
    "read", [project_files.read_named, lambda file: b"".join(project_files.read_lines(file))]
)
def test_a_pipe_of_the_shell_is_read(pipe, read):
    assert read(pipe) == b"one\ntwo\n"


def test_a_pipe_of_the_shell_has_a_most_too(pipe):
    with pytest.raises(UsageError, match="gives more than 7 bytes"):
        project_files.read_named(pipe, limit=7)


def test_a_descriptor_that_is_no_pipe_is_as_any_file(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"one\n")
    with file.open() as opened:
        assert project_files.read_named(Path(f"/proc/self/fd/{opened.fileno()}")) == b"one\n"
    with Path("/dev/zero").open() as opened, pytest.raises(UsageError, match="but a device"):
        project_files.read_named(Path(f"/dev/fd/{opened.fileno()}"))
    with pytest.raises(UsageError, match="Bad file descriptor"):
        project_files.read_named(Path("/dev/fd/99999"))


def test_a_compressed_log_is_compared_through_a_pipe_of_the_shell(ann, pipe):
    result = ann.runs("compare", "iris-0123", "iris-ba98", "--log", str(pipe))
    assert "not a regular file" not in result.err, result
