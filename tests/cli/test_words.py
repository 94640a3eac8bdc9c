"""What `gitops-ml` says, to people and to machines, and the codes that it ends with."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from gitops_ml._version import __version__
from gitops_ml.cli.main import COMMANDS
from gitops_ml.cli.report import annotate
from gitops_ml.errors import Problem
from tests.support.git_servers import commit_files
from tests.support.person import (
    NO_REGISTRY,
    container_api,
    finished,
    predictor_api,
    program,
)

ESCAPE = "\x1b"


# -- exit codes ------------------------------------------------------------------------------------


def invalid(ann):
    ann.has(container_api("iris", autoscaling={"max_replicas": -1}))
    return ["deploy"]


def unknown_environment(ann):
    ann.has(container_api("iris"))
    return ["deploy", "-e", "nowhere"]


def unknown_option(ann):
    return ["deploy", "--no-such-option"]


def failing_server(ann):
    ann.has(container_api("iris"))
    ann.configures(gitops={"repository": "http://127.0.0.1:1/gitops.git"})
    return ["deploy"]


def refusing_registry(ann):
    ann.has(predictor_api("answer"))
    return ["deploy", "--offline"]


def altered_repository(ann):
    ann.has(container_api("iris"))
    ann.deploys()
    chart = next(path for path in ann.paths("charts/"))
    commit_files(ann.gitops, {chart: "altered\n"})
    return ["deploy"]


def differences(ann):
    ann.has(container_api("iris"))
    return ["diff", "--exit-code"]


def fine(ann):
    ann.has(container_api("iris"))
    return ["validate"]


@pytest.mark.parametrize(
    ("case", "code"),
    [
        (fine, 0), (unknown_environment, 2), (unknown_option, 2), (invalid, 3), (failing_server, 4),
        (refusing_registry, 5), (altered_repository, 6), (differences, 7),
    ],
)  # fmt: skip
def test_each_kind_of_ending_has_its_code(ann, case, code):
    result = ann.runs(*case(ann))
    assert result.code == code, result
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        (unknown_environment, "UsageError"), (invalid, "InvalidDocument"),
        (failing_server, "ServerFailed"), (refusing_registry, "Refused"),
        (altered_repository, "RepositoryMoved"),
    ],
)  # fmt: skip
def test_machines_are_told_of_errors_as_well(ann, case, kind):
    result = ann.runs(*case(ann), "-o", "json")
    assert result.json["error"]["type"] == kind
    assert result.json["error"]["message"] in result.err or kind == "InvalidDocument"


def test_problems_of_documents_are_listed_for_machines(ann):
    result = ann.runs(*invalid(ann), "-o", "json")
    (problem,) = result.json["error"]["problems"]
    assert (problem["file"], problem["path"]) == ("api.yaml", "iris.autoscaling.max_replicas")
    assert problem["line"] > 0
    assert problem["column"] > 0


# -- validate --------------------------------------------------------------------------------------


def test_every_problem_of_every_file_is_told_with_its_place(ann):
    ann.has(container_api("iris", autoscaling={"max_replcas": 5}))
    (ann.project / "two").mkdir()
    (ann.project / "two/api.yaml").write_text("- name: Two\n  kind: RealtimeAPI\n  kind: x\n")
    result = ann.runs("validate")
    assert result.code == 3
    assert re.search(
        r"^api\.yaml:7:5: iris\.autoscaling\.max_replcas: unknown key; did you mean 'max_replicas'",
        result.out,
        re.M,
    )
    assert "two/api.yaml:3:3: " in result.out
    assert result.out.splitlines()[-1].startswith("invalid: 2 files, ")


def test_json_holds_what_text_says(ann):
    ann.has(container_api("iris", autoscaling={"max_replcas": 5}))
    text, facts = ann.runs("validate"), ann.runs("validate", "-o", "json")
    assert facts.code == text.code == 3
    assert facts.json["valid"] is False
    assert facts.json["files"] == ["api.yaml"]
    lines = [
        f"{p['file']}:{p['line']}:{p['column']}: {p['path']}: {p['message']}"
        for p in facts.json["problems"]
    ]
    assert lines == text.out.splitlines()[:-1]


def test_warnings_are_no_errors_unless_asked(ann):
    """A spelling of Cortex's, which is understood."""
    ann.has(container_api("iris", autoscaling={"target_replica_concurrency": 2}))
    result = ann.runs("validate")
    assert (result.code, "warning: " in result.out) == (0, True)
    assert ann.runs("validate", "--strict").code == 3
    assert ann.runs("validate", "--strict", "-o", "json").json["valid"] is False


def test_github_gets_annotations(ann):
    ann.has(container_api("iris", autoscaling={"max_replcas": 5}))
    result = ann.runs("validate", "-o", "github")
    assert result.code == 3
    assert result.out.startswith("::error file=api.yaml,line=7,col=5,title=gitops-ml schema::iris.")
    assert result.out.count("\n") == 1


def test_annotations_cannot_be_broken_by_what_they_quote(capsys):
    problem = Problem("a,b:c%.yaml", 3, 1, "iris", "50% of\r\n::error::x", severity="warning")
    annotate(problem)
    assert capsys.readouterr().out == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=3,col=1,title=gitops-ml schema"
        "::iris: 50%25 of%0A::error::x\n"
    )


def test_github_is_told_of_a_manifest_that_leaves_the_project(ann):
    (ann.home / "outside.yaml").write_text("[]\n")
    (ann.project / "api.yaml").symlink_to(ann.home / "outside.yaml")
    result = ann.runs("validate", "-o", "github")
    assert result.code == 3
    assert result.out.startswith("::error file=api.yaml,line=1,col=1,title=gitops-ml file::")


def test_an_unknown_path_is_told(ann):
    result = ann.runs("validate", "nowhere")
    assert (result.code, result.err) == (2, "error: nowhere does not exist\n")


# -- results on stdout, the rest on stderr ---------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate"], ["build", "--dry-run"], ["render", "--offline"], ["diff", "--offline"],
        ["deploy", "--offline", "--by-tag"], ["init", "new"], ["version"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_json_is_alone_on_stdout(ann, arguments):
    ann.has(predictor_api("answer"))
    ann.configures(image={"repository": "127.0.0.1:1/ml"})
    result = ann.runs(*arguments, "-o", "json")
    if arguments[0] == "build":  # asks the registry, which is not there
        assert (result.code, result.json["error"]["type"]) == (4, "ServerFailed")
    else:
        assert result.code == 0, result
        json.loads(result.out)


def test_deploys_facts_are_those_of_the_text(ann):
    ann.has(container_api("iris"))
    facts = ann.deploys("-o", "json").json
    assert facts["commit"] == ann.head()
    assert facts["is_plan"] is False
    assert [(r["environment"], r["api"]) for r in facts["releases"]] == [
        ("staging", "iris"), ("production", "iris"),
    ]  # fmt: skip
    assert {change["path"] for change in facts["changes"]} == set(ann.paths())


def test_letters_beyond_ascii_survive(ann):
    ann.has(container_api("iris", team="ml"))
    text = (ann.project / "api.yaml").read_text().replace("port: 8080", "env: {GREETING: grün}")
    (ann.project / "api.yaml").write_text(text)
    for encoding in ("utf-8", "latin-1", "ascii"):
        result = subprocess.run(
            program("render", "-o", "json"), cwd=ann.project, capture_output=True, check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"},
        )  # fmt: skip
        assert b"Traceback" not in result.stderr, (encoding, result.stderr)
        files = json.loads(result.stdout.decode(encoding))["files"]
        if encoding == "utf-8":
            assert "grün" in files["releases/staging/iris/values.yaml"]


# -- colours ---------------------------------------------------------------------------------------


def at_a_terminal(*arguments, cwd, env):
    """Everything that is seen at a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        program(*arguments), cwd=cwd, env={**os.environ, "TERM": "xterm", **env},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # EIO: nobody holds the other end any more
        pass
    process.wait()
    os.close(ours)
    return seen.decode()


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_terminals_get_colours_unless_they_do_not_want_them(ann, env, coloured):
    ann.has(predictor_api("answer"))
    seen = at_a_terminal("diff", "--offline", cwd=ann.project, env=env)
    assert "+  maxReplicas: " in seen
    assert (ESCAPE in seen) is coloured


def test_no_colours_where_it_is_not_a_terminal(ann):
    ann.has(predictor_api("answer"))
    for arguments in (["diff", "--offline"], ["deploy", *NO_REGISTRY], ["validate", "nowhere"]):
        result = finished(
            *arguments, cwd=ann.project, env={"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
        )
        assert ESCAPE not in result.stdout + result.stderr


# -- the command itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["deploy", "--help"], ["nope"]])
def test_what_needs_no_library_imports_none(arguments):
    script = (
        "import sys\n"
        "from gitops_ml.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'git', 'docker', 'jsonschema', 'jsonschema_rs', 'jinja2', 'yaml', 'requests', 'kubernetes',\n"
        "         'helm_python', 'gitops_ml.actions', 'starlette', 'uvicorn'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    allowed = "'gitops_ml.actions'" if arguments[0] == "deploy" else ""
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    heavy = result.rpartition("HEAVY ")[2].strip()
    light = heavy.replace("'jinja2', ", "").replace("'yaml'", "") if allowed else heavy
    assert light.strip("[], ") in ("", allowed), heavy


def test_help_lists_every_command_and_every_exit_code(ann):
    result = " ".join(ann.runs("--help").out.split())
    for name, sentence in COMMANDS.items():
        assert f" {name} {sentence} " in result
    assert "7 differences found" in result


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(ann, name):
    result = ann.runs(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: gitops-ml {name} ")
    assert f"  gitops-ml {name}" in result.out.partition("Options:")[0] or name == "version"


def test_an_unknown_command_names_the_known_ones_and_the_one_that_was_meant(ann):
    result = ann.runs("depoly")
    assert result.code == 2
    assert "no such command 'depoly'. Did you mean 'deploy'?" in result.err
    assert f"The commands are: {', '.join(COMMANDS)}." in " ".join(result.err.split())


def test_an_unknown_option_names_the_one_that_was_meant(ann):
    result = ann.runs("deploy", "--dry-rum")
    assert (result.code, "--dry-run" in result.err) == (2, True)


def test_without_arguments_it_helps(ann):
    result = ann.runs()
    assert result.code == 2
    assert "Usage: gitops-ml" in result.err + result.out


def test_version(ann):
    assert ann.runs("--version").out == f"gitops-ml {__version__}\n"
    assert ann.runs("version").out.startswith(f"gitops-ml {__version__} (Python 3.")
    assert ann.runs("version", "-o", "json").json["gitops_ml"] == __version__


@pytest.mark.parametrize("document", ["api", "project", "user"])
def test_schemas_are_printed_whole(ann, document):
    result = ann.runs("schema", document)
    assert result.json["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_options_come_from_variables_as_well(ann, monkeypatch):
    ann.has(container_api("iris"), container_api("roses"))
    monkeypatch.setenv("GITOPS_ML_ENVIRONMENT", "staging")
    monkeypatch.setenv("GITOPS_ML_OUTPUT", "json")
    monkeypatch.setenv("GITOPS_ML_API", "iris")
    monkeypatch.setenv("GITOPS_ML_DRY_RUN", "1")
    facts = ann.runs("deploy").json
    assert facts["is_plan"] is True
    assert [(r["environment"], r["api"]) for r in facts["releases"]] == [("staging", "iris")]
    monkeypatch.setenv("GITOPS_ML_PROJECT", str(ann.home / "nowhere.yaml"))
    assert "nowhere.yaml does not exist" in ann.runs("deploy").err


def test_an_option_of_one_command_comes_from_a_variable_of_its_own(ann, monkeypatch):
    ann.has(container_api("iris"))
    monkeypatch.setenv("GITOPS_ML_DEPLOY_MESSAGE", "Ship it")
    monkeypatch.setenv("GITOPS_ML_RUN_PORT", "not a port")
    ann.deploys()
    assert b"Ship it" in subprocess.check_output(
        ["git", "log", "-1", "--format=%s", "main"], cwd=ann.gitops
    )


def test_annotations_for_validate_do_not_hinder_the_other_commands(ann, monkeypatch):
    """A CI job sets it once; `deploy` knows no annotations and says what it says."""
    ann.has(container_api("iris"))
    monkeypatch.setenv("GITOPS_ML_OUTPUT", "github")
    assert ann.runs("validate").code == 0
    assert ann.runs("deploy").code == 0


@pytest.mark.parametrize(
    ("shell", "checks"),
    [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])],
)
def test_completion_scripts_are_scripts(ann, shell, checks):
    result = ann.runs("completion", shell)
    assert (result.code, "_GITOPS_ML_COMPLETE" in result.out) == (0, True)
    script = ann.home / "script"
    script.write_text(result.out)
    try:
        subprocess.run([*checks, script], check=True)
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed")


def test_completion_offers_commands_and_options(ann):
    env = {
        **os.environ, "_GITOPS_ML_COMPLETE": "bash_complete", "COMP_WORDS": "gitops-ml dep",
        "COMP_CWORD": "1",
    }  # fmt: skip
    result = subprocess.run(program(), env=env, capture_output=True, text=True, check=False)
    assert result.stdout == "plain,deploy\n"


@pytest.mark.parametrize("arguments", [["--help"], ["schema", "api"], ["render", "-o", "json"]])
def test_a_reader_who_leaves_is_no_failure(ann, arguments):
    ann.has(container_api("iris"))
    process = subprocess.Popen(
        program(*arguments), cwd=ann.project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


@pytest.mark.parametrize("kind", ["BatchAPI", "TaskAPI", "AsyncAPI"])
def test_a_kind_that_cannot_be_deployed_yet_is_valid_and_no_verb_leaves_it_out_in_silence(
    ann, kind
):
    work = "definition" if kind == "TaskAPI" else "predictor"
    ann.has({"name": "night", "kind": kind, work: {"path": "predictor.py"}})
    (ann.project / "predictor.py").touch()
    result = ann.runs("validate")
    assert (result.code, f"{kind} is checked, but this version cannot deploy it" in result.out) == (
        0,
        True,
    )
    for verb in ("render", "diff", "deploy", "build"):
        result = ann.runs(verb)
        assert (
            result.code,
            f"{kind} is checked, but this version cannot deploy it" in result.err,
        ) == (
            3,
            True,
        )


BATCH = {"name": "oak", "kind": "BatchAPI", "predictor": {"path": "predictor.py"}}


def test_a_kind_that_cannot_be_deployed_yet_does_not_stop_the_others(ann):
    split = {"name": "split", "kind": "TrafficSplitter", "apis": [{"name": "iris", "weight": 100}]}
    ann.has(container_api("iris"), split, BATCH)
    for verb in ("render", "diff", "build", "deploy"):
        result = ann.runs(verb)
        assert result.code == 0, result
        for name, kind in (("split", "TrafficSplitter"), ("oak", "BatchAPI")):
            message = f"warning: {name}.kind: {kind} is checked, but this version cannot deploy it"
            assert message in result.err
    assert {path.split("/")[2] for path in ann.paths("releases/staging/")} == {"iris"}
    result = ann.runs("deploy", "--api", "split")
    assert (result.code, "TrafficSplitter is checked, but" in result.err) == (3, True)


def test_a_release_whose_kind_cannot_be_deployed_any_more_is_not_pruned(ann):
    ann.has(container_api("iris"), container_api("oak"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris"), BATCH)
    result = ann.deploys("-e", "staging", "--prune")
    assert ann.paths("releases/staging/oak/")
    assert "no manifest describes it" not in result.err
