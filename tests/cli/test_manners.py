"""What a person meets besides the results: tables of 80 columns, levels, completion, Cortex's flags."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from gitops_ml.cli import report
from gitops_ml.cli.main import COMMANDS, Commands, gitops_ml, main
from gitops_ml.errors import GitopsMlError
from tests.support.git_servers import git
from tests.support.local_server import serving
from tests.support.person import NO_REGISTRY, container_api, predictor_api, program, started
from tests.support.ports import free_port

DIGEST = "sha256:" + "12345678" * 8


@pytest.fixture
def narrow(monkeypatch):
    """The standard output is a terminal of 80 columns."""
    monkeypatch.setattr("gitops_ml.cli.report.columns", lambda: 80)


def widest(text):
    return max(map(len, text.splitlines()))


# -- tables ------------------------------------------------------------------------------------------


def test_tables_fit_a_terminal_and_are_whole_elsewhere(ann, monkeypatch):
    ann.has(predictor_api("iris-classifier"))
    whole = ann.deploys("-e", "staging", *NO_REGISTRY).out
    found = re.search(r"iris-classifier-[0-9a-f]{12}", whole)
    assert found
    id = found[0]
    assert "registry.example.org/ml/iris-classifier:h-" in whole
    monkeypatch.setattr("gitops_ml.cli.report.columns", lambda: 80)
    ann.has(predictor_api("iris-classifier", autoscaling={"max_replicas": 7}))
    for arguments in (
        ("deploy", "-e", "staging", "-e", "production", *NO_REGISTRY),
        ("history", "iris-classifier"),
        ("get",),
        ("refresh", "iris-classifier", "-e", "staging"),
    ):
        result = ann.runs(*arguments)
        assert widest(result.out) <= 80, result.out
        assert id.rpartition("-")[2] in result.out or arguments[0] in ("deploy", "refresh", "get")
    digits = id.rpartition("-")[2]
    assert ann.runs("trace", digits).out.startswith(f"deployment id:  {id}\n")
    assert ann.runs("trace", digits[:8], "-o", "json").json["deployment_id"] == id
    assert ann.runs("rollback", "iris-classifier", "-e", "staging", "--to", digits).code == 0


@pytest.mark.parametrize("length", [3, 15, 42])
def test_a_row_that_does_not_fit_is_a_block(narrow, capsys, length):
    head = ("environment", "api", "deployment id", "before")
    row = ("production", "a" * length, f"{'a' * length}-0123456789ab", "-")
    report.table(head, [row, row])
    text = capsys.readouterr().out
    assert (text.count("API") == 2) == (length == 42)
    assert widest(text) <= 80
    assert all(text.count(cell) >= 2 for cell in row)


def test_one_column_is_cut_before_a_row_becomes_a_block(narrow, capsys):
    report.table(("a", "b", "c"), [("x" * 20, "y" * 90, "z" * 20)], cut="b")
    head, row = capsys.readouterr().out.splitlines()
    assert row == f"{'x' * 20}  {'y' * 35}…  {'z' * 20}"
    assert head.split() == ["A", "B", "C"]


def test_columns_are_left_out_before_a_row_becomes_a_block(narrow, capsys):
    head, row = ("api", "id", "status", "age"), ("a" * 45, "0123456789ab", "s" * 30, "5d")
    report.table(head, [row, row], cut="status", less=("id", "age"))
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == ["API", "STATUS", "AGE"]
    assert (len(shown.out.splitlines()), widest(shown.out)) == (3, 80)
    assert shown.err == "no room for: id\n"
    report.table(head, [(row[0] * 2, *row[1:])], cut="status", less=("id", "age"))
    assert row[1] in capsys.readouterr().out, "a block has everything"


def test_names_of_east_asia_are_as_wide_as_a_terminal_shows_them(capsys):
    report.table(("who", "what"), [("田中 太郎", "x"), ("Zoe\u0301", "y")])
    head, first, second = capsys.readouterr().out.splitlines()
    assert (head, first, second) == ("WHO        WHAT", "田中 太郎  x", "Zoe\u0301        y")


def test_a_sentence_is_broken_between_words_and_never_within_a_command(narrow, capsys):
    command = "`kubectl create rolebinding reader -n ml --clusterrole=reader`"
    report.hanging(
        "  remedy  ", f"an administrator of the cluster can allow it: {command}, or wait"
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:10] for line in lines] == ["  remedy  ", " " * 10, " " * 10]
    assert command in lines[1]


def test_warnings_and_errors_are_sentences_of_a_terminal_and_lines_of_a_file(
    narrow, capsys, monkeypatch
):
    words = "the registry refuses it: " + "log in " * 20
    report.warnings([words])
    report.error(GitopsMlError(f"{words}\nsecond line"))
    assert [len(each) > 80 for each in capsys.readouterr().err.splitlines()] == [True, True, False]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    report.warnings([words])
    report.error(GitopsMlError(words))
    shown = capsys.readouterr().err
    assert widest(shown) <= 80
    assert shown.startswith("warning: the registry")
    assert "\nerror: the registry" in shown


@pytest.mark.parametrize("lead", ["", "  ", "iris in staging: ", "a" * 77, "a" * 90])
@pytest.mark.parametrize("below", [None, 0, 2])
@pytest.mark.parametrize("text", ["", "word", "several words " * 20])
def test_no_word_of_a_sentence_is_lost(narrow, capsys, lead, below, text):
    report.hanging(lead, text, below=below)
    shown = capsys.readouterr().out
    assert shown.startswith(lead)
    assert shown.removeprefix(lead).split() == text.split()
    assert widest(shown.partition("\n")[2] or "x") <= 80


def test_a_list_of_releases_is_a_table_whatever_the_length_of_a_name(ann, monkeypatch):
    long = "recommendation-ranking-multilingual-v2"
    ann.has(container_api("iris"), container_api(long))
    monkeypatch.setattr("gitops_ml.cli.report.columns", lambda: 80)
    deploy = ("deploy", "-e", "production", *NO_REGISTRY)
    for arguments in (deploy, ("get", "-e", "production"), ("history", long)):
        result = ann.runs(*arguments)
        assert result.out.count("ENV ") == 1, result
        assert widest(result.out) <= 80


# -- levels ------------------------------------------------------------------------------------------


def test_quiet_says_only_results_warnings_and_errors(ann):
    assert ann.runs("init", "-q").err == ""
    assert "next:" in ann.runs("init").err
    assert ann.runs("deploy", "-q", "-e", "nowhere").err.startswith("error: unknown environment")


def test_verbose_shows_each_program_and_debug_the_traceback(ann):
    ann.has(predictor_api("iris"))
    ann.deploys("-e", "staging", *NO_REGISTRY)
    result = ann.runs("get", "-v")
    assert "git fetch" in result.err
    assert "git fetch" not in ann.runs("get").err
    result = ann.runs("rollback", "iris", "-e", "staging", "--debug")
    assert "Traceback" in result.err
    assert "Traceback" not in ann.runs("rollback", "iris", "-e", "staging").err


def test_every_command_has_the_levels():
    group = Commands("gitops-ml")
    for name in COMMANDS:
        command = group.get_command(None, name)
        for each in getattr(command, "commands", {"": command}).values():
            assert {"quiet", "verbose", "debug"} <= {p.name for p in each.params}, name


# -- completion --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("deploy -e ", ["production", "staging"]),
        ("deploy -e staging -e ", ["production"]),
        ("rollback ", ["iris", "spam"]),
        ("rollback i", ["iris"]),
        ("promote iris ", ["spam"]),
        ("logs iris -e st", ["staging"]),
        ("run -a s", ["spam"]),
        ("promote iris --to ", ["production", "staging"]),
        ("promote iris --from s", ["staging"]),
        ("cost ", ["iris", "spam"]),
        ("bench s", ["spam"]),
    ],
)
def test_names_of_the_project_are_completed(ann, monkeypatch, words, expected):
    ann.has(predictor_api("iris"), predictor_api("spam"))
    monkeypatch.setenv("COMP_WORDS", f"gitops-ml {words}")
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ") + 1))
    monkeypatch.setenv("_GITOPS_ML_COMPLETE", "bash_complete")
    result = ann.runs()
    assert result.out.splitlines() == [f"plain,{name}" for name in expected]
    assert result.err == ""


def test_every_name_of_an_environment_or_api_is_completed():
    """But those of deployments, images and files, which the project does not have."""
    for name in COMMANDS:
        group = gitops_ml.get_command(click.Context(gitops_ml), name)
        for each in group.commands.values() if isinstance(group, click.Group) else (group,):
            lacking = [
                parameter.name
                for parameter in each.params
                if parameter.name in {"api", "apis", "environment", "environments", "source"}
                and parameter._custom_shell_complete is None
            ]
            assert lacking == [], name


def test_nothing_is_shown_while_a_person_completes_behind_an_unknown_command(ann, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "gitops-ml no-such-command ")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_GITOPS_ML_COMPLETE", "bash_complete")
    result = ann.runs()
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("word", "command"), [("status", "describe"), ("list", "get"), ("apply", "deploy")]
)
def test_a_word_of_other_tools_leads_to_the_command(ann, word, command):
    assert f"Did you mean {command!r}?" in ann.runs(word).err


def test_json_in_place_of_a_file_is_answered_with_how_to_send_it(ann):
    ann.has(container_api("iris"))
    result = ann.runs("predict", "iris", '{"x": 1}')
    assert result.code == 2
    assert "is no file: send it by the standard input, with - in its place" in result.err


def test_nothing_is_completed_and_nothing_said_where_there_is_no_project(ann, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "gitops-ml deploy -e ")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_GITOPS_ML_COMPLETE", "bash_complete")
    result = ann.runs()
    assert "plain,staging" not in result.out
    assert result.err == ""


# -- what fingers know from Cortex -------------------------------------------------------------------


def test_flags_of_cortex_do_what_they_did(ann):
    ann.has(container_api("iris"))
    result = ann.runs("deploy", "-f", "-y", "-e", "staging", "-o", "pretty")
    assert (result.code, "staging" in result.out) == (0, True)
    assert ann.runs("refresh", "iris", "-e", "staging", "-f").code == 0
    assert (
        ann.runs("patch", "iris", "-e", "staging", "-f", "--set", "autoscaling.max_replicas=7").code
        == 0
    )
    assert ann.runs("delete", "iris", "-e", "staging", "-f", "-o", "json").code == 0
    for command in ("get", "describe"):
        assert "-w, --watch" in ann.runs(command, "--help").out


# -- a predictor on this machine ---------------------------------------------------------------------


def test_a_local_run_is_asked_by_name(ann):
    ann.has(predictor_api("answer"))
    (ann.project / "x.json").write_text('{"x": 21}')
    with serving(cwd=ann.project) as server:
        port = server.address.rpartition(":")[2]
        local = ("x.json", "--local", "-p", port)
        assert json.loads(ann.runs("predict", "answer", *local).out) == {"answer": 42}
        other = ann.runs("predict", "iris", *local)
        assert (other.code, "serves 'answer', not 'iris'" in other.err) == (2, True)
    none = ann.runs("predict", "answer", "x.json", "--local", "-p", str(free_port()))
    assert none.code == 4
    assert "`gitops-ml run" in none.err
    assert "gateway" not in none.err


def test_the_log_of_a_run_is_text_on_a_terminal(ann):
    ann.has(predictor_api("answer"))
    master, slave = pty.openpty()
    command = program("run", "--port", str(free_port()))
    process = subprocess.Popen(
        command, cwd=ann.project, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    end = threading.Timer(60, process.kill)
    end.start()
    shown = b""
    while b"ready" not in shown:
        shown += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    end.cancel()
    os.close(master)
    assert re.search(rb"^\d\d:\d\d:\d\d info ", shown, re.MULTILINE), shown
    assert b'{"time"' not in shown


# -- outputs that cannot be written ------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["schema", "api"], ["nonsense"]])
@pytest.mark.parametrize("full", ["stdout", "stderr"])
def test_an_output_that_cannot_be_written_is_reported(monkeypatch, tmp_path, arguments, full):
    paths = {"stdout": tmp_path / "out", "stderr": tmp_path / "err"}
    paths[full] = Path("/dev/full")
    with paths["stdout"].open("w") as out, paths["stderr"].open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    is_hit = (full == "stderr") == (arguments == ["nonsense"])
    assert (ended.value.code == 4) == is_hit
    if is_hit and full == "stdout":
        assert (
            "the output cannot be written: No space left on device" in paths["stderr"].read_text()
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_end_leaves_no_temporary_file(ann, tmp_path, number):
    git("init", "-q", cwd=ann.project)
    ann.has(container_api("iris"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = started("deploy", "-e", "staging", cwd=ann.project, env={"TMPDIR": str(temporary)})
    seen: list[Path] = []
    while not seen and process.poll() is None:
        seen = list(temporary.iterdir())
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert seen
    assert process.returncode == 128 + number
    assert not list(temporary.iterdir())
