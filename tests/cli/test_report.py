"""What reaches a terminal, a pipe and a CI system of texts that others have written."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gitops_ml.cli
from gitops_ml.cli import report
from gitops_ml.cli.main import _show_bug
from gitops_ml.errors import InvalidDocument, Problem, ServerFailed
from gitops_ml.system.clean_text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = "\x1b[2J\x1b]0;owned\x07red\x1b[31m\r\x9b31mback\b\u202eward"
"""Clears the screen, names the window, colours, overwrites, turns the direction."""
MATRIX = {
    "echo": lambda: report.echo(HOSTILE),
    "styled": lambda: report.echo(report.styled(HOSTILE, "add")),
    "say": lambda: report.say(HOSTILE),
    "progress": lambda: report.progress(HOSTILE),
    "warnings": lambda: report.warnings([HOSTILE]),
    "json": lambda: report.as_json({HOSTILE: HOSTILE}),
    "table": lambda: report.table((HOSTILE,), [(f"{HOSTILE}\nsecond",)]),
    "problems": lambda: report.problems([Problem(HOSTILE, 1, 1, HOSTILE, HOSTILE)]),
    "annotation": lambda: report.annotate(Problem(HOSTILE, 1, 1, HOSTILE, HOSTILE)),
    "error": lambda: report.error(ServerFailed(HOSTILE)),
    "invalid": lambda: report.error(InvalidDocument([Problem(HOSTILE, 0, 0, "", HOSTILE)])),
}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal, which is stdout and stderr, gets to show."""

    def shown(*ways: Callable[[], object]) -> str:
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            for way in ways:
                way()
        return screen.getvalue()

    return shown


def without_our_colours(text: str) -> str:
    for code in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[90m", "\x1b[0m"):
        text = text.replace(code, "")
    return text


@pytest.mark.parametrize("way", MATRIX)
def test_no_way_to_a_terminal_lets_others_steer_it(way, terminal):
    shown = terminal(MATRIX[way])
    assert "red" in shown
    assert all(c.isprintable() or c in "\n\t" for c in without_our_colours(shown))
    # Ours stand in pairs; none of the text is among them.
    assert shown.count("\x1b") % 2 == 0
    assert "red\x1b" not in shown


@pytest.mark.parametrize("way", MATRIX)
def test_nor_into_a_file_or_the_log_of_a_ci_system(way, capsys):
    MATRIX[way]()
    shown = "".join(capsys.readouterr())
    assert all(c.isprintable() or c in "\n\t" for c in shown)


def test_our_own_colours_are_there(terminal):
    shown = terminal(lambda: report.echo(report.styled("added", "add") + " and plain"))
    assert shown == "\x1b[32madded\x1b[0m and plain\n"


@given(st.text() | st.sampled_from(["##[x]", "###vso[a]b", "#", "##vso["]))
def test_json_keeps_its_value(text):
    stream, before = io.StringIO(), sys.stdout
    sys.stdout = stream
    try:
        report.as_json([text])
    finally:
        sys.stdout = before
    assert json.loads(stream.getvalue()) == [text]
    assert printable(stream.getvalue()) == stream.getvalue()


def test_lines_of_pods_are_as_they_are_for_programs(capsys):
    line = "a\r50 %\r100 % \u202eb \x07"
    report.log_line("iris-1", line)
    report.stream(f"{line}\n", nl=False)
    assert capsys.readouterr().out == f"iris-1  {line}\n{line}\n"


def test_and_harmless_for_people(terminal):
    ways = (lambda: report.log_line("iris-1", HOSTILE), lambda: report.stream(HOSTILE.encode()))
    shown = without_our_colours(terminal(*ways))
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.parametrize("variable", ["GITHUB_ACTIONS", "TF_BUILD"])
@pytest.mark.parametrize(
    "command",
    ["::add-mask::x", "  ::set-output name=a::b", "ok\n::stop-commands::x", "a ##[error]b", "##vso[task.setvariable]x"],
)  # fmt: skip
def test_a_ci_system_obeys_no_line_of_others(command, variable, monkeypatch, capsys):
    monkeypatch.setenv(variable, "true")
    report.error(ServerFailed(command))
    report.echo(command)
    report.log_line("iris-1", command)
    report.as_json({"text": command})
    report.stream(printable_json(json.dumps(command)))
    lines = "".join(capsys.readouterr()).splitlines()
    assert not any(
        line.lstrip().startswith("::") or "##[" in line or "##vso[" in line for line in lines
    )


def test_our_annotations_are_obeyed_and_hold_one_line(monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    report.annotate(Problem("a.yaml", 2, 1, "", "wrong\n::add-mask::x"))
    shown = capsys.readouterr().out
    assert shown.startswith("::error file=a.yaml,line=2")
    assert shown.count("\n") == 1


def test_the_traceback_of_a_bug_holds_neither_escapes_nor_tokens(monkeypatch, capsys):
    monkeypatch.setenv("DEPLOY_TOKEN", "t0ken-value")
    error = ValueError(f"{HOSTILE} t0ken-value https://ann:pa55word@host/x")
    _show_bug(ValueError, error, None)
    shown = capsys.readouterr().err
    assert shown.startswith("ValueError: ")
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert not any(secret in shown for secret in ("t0ken-value", "pa55word"))


def test_commands_print_by_the_report_alone():
    folder = Path(gitops_ml.cli.__file__).parent
    others = [
        f"{file.name}:{node.lineno}"
        for file in sorted(folder.glob("*.py"))
        if file.name != "report.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("click.echo", "click.secho", "print")
    ]
    assert others == []
