"""Messages that reach a session name calls and arguments, not commands and options."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import click
import pytest

import gitops_ml as gml
from gitops_ml.cli.main import COMMANDS, Commands
from gitops_ml.client.python_terms import _OPTIONS, METHODS, WITHOUT, in_python
from gitops_ml.errors import UsageError
from tests.support.person import container_api

PACKAGE = Path(gml.__file__).parent
ONLY_COMMANDS = {*WITHOUT, "run", "check_page", "pages"}
"""Modules of verbs that no session calls with their options."""


def test_every_verb_is_a_method_or_has_a_reason():
    assert set(METHODS) | set(WITHOUT) == set(COMMANDS)
    assert not set(METHODS) & set(WITHOUT)
    for method in METHODS.values():
        assert callable(getattr(gml.Client, method)), method


def test_commands_become_calls():
    assert (
        in_python("`gitops-ml deploy --prune` removes it")
        == "`client.deploy(prune=True)` removes it"
    )
    assert (
        in_python("`gitops-ml delete iris oak -e staging`")
        == '`client.delete_api(["iris", "oak"])`'
    )
    assert in_python("`gitops-ml deploy -e staging -a iris`") == '`client.deploy("iris")`'
    assert in_python("`gitops-ml run --port`") == "`api.run_locally()`"
    assert in_python("such as --header 'Authorization: Bearer …'") == (
        'such as headers={"Authorization": "Bearer …"}'
    )
    assert in_python("names x --hash=sha256:1 --towards") == "names x --hash=sha256:1 --towards"
    assert in_python("run `gitops-ml lock`") == "run `gitops-ml lock`"


ELSEWHERE = {
    "--project", "--environment", "--from", "--offline",
    "--api", "--output", "--quiet", "--verbose", "--debug", "--yes", "--exit-code",
}  # fmt: skip
"""Options of `gml.client(…)`, positional arguments, and what is for a terminal."""
OTHERWISE = {
    "check": {
        "--html",
        "--comment",
        "--report",
        "--explain",
        "--traffic",
        "--pull-request",
    },  # the card; CI's
    "delete": {
        "--all",
        "--team",
        "--label",
        "--force",
    },  # a list of names, which may be of `list_apis()`
    "refresh": {"--all", "--team", "--label"},
    "deploy": {"--frozen"},  # a check of CI
    "describe": {"--watch"},  # `wait()`
    "get": {"--watch"},
    "logs": {"--follow"},  # `stream_api_logs()`
    "patch": {"--set"},  # `changes`
    "predict": {"--content-type", "--local", "--port"},  # `headers`; `run_locally()`
    "run": {"--host", "--reload"},
}
"""Options by verb that a session has in another form, which the comment names."""


@pytest.mark.parametrize("verb", METHODS)
def test_every_option_of_a_verb_is_an_argument_of_its_method(verb):
    group = Commands("gitops-ml")
    command = group.get_command(click.Context(group), verb)
    found = {text for each in command.params for text in (*each.opts, *each.secondary_opts)}
    named = {text for text in found if text.startswith("--")}
    arguments = inspect.signature(getattr(gml.Client, METHODS[verb])).parameters

    def is_argument(option: str) -> bool:
        name = option.removeprefix("--").replace("-", "_")
        return _OPTIONS.get(option, name).partition("=")[0] in arguments or f"{name}s" in arguments

    missing = {each for each in named - ELSEWHERE if not is_argument(each)}
    assert missing == OTHERWISE.get(verb, set())


def options() -> set[str]:
    """The long options of all commands that the client has as methods."""
    found: set[str] = set()
    group = Commands("gitops-ml")
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        if name not in ONLY_COMMANDS and command is not None:
            found |= {
                text for each in command.params for text in (*each.opts, *each.secondary_opts)
            }
    return {text for text in found if text.startswith("--")}


def messages() -> list[tuple[str, str]]:
    """Every text of the rooms below the command line and the client, with its file."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room, module = path.relative_to(PACKAGE).parts[0], path.stem
        if room in ("cli", "client", "git", "helm", "review", "system") or (
            room in ("commands", "policy") and module in ONLY_COMMANDS
        ):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        documented = {
            id(node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }  # fmt: skip
        inner = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (str(p.value) if isinstance(p, ast.Constant) else "x" for p in node.values)
                found.append((str(path.relative_to(PACKAGE)), "".join(parts)))
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documented | inner
            ):
                found.append((str(path.relative_to(PACKAGE)), node.value))
    return found


def test_no_message_that_a_session_may_see_names_an_option_or_a_command_that_it_has_as_a_method():
    methods = set(METHODS)
    flags = options()
    for file, text in messages():
        shown = in_python(text)
        words = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?![\w-])", shown))
        assert (
            not words & flags or " " not in text or "kubectl" in text or text.startswith("exec ")
        ), (
            file,
            shown,
        )
        called = set(re.findall(r"`gitops-ml ([a-z]+)", shown))
        assert not called & methods, (file, shown)


def test_errors_warnings_and_what_to_do_are_translated(ann):
    ann.has(container_api("iris"), container_api("oak"))
    ann.deploys("-e", "staging")
    ann.has(container_api("iris"))
    client = gml.client("staging", offline=True)
    (api,) = client.deploy(".", pull_request=False)
    assert "`client.deploy(prune=True)` removes it" in " ".join(api.warnings)
    with pytest.raises(UsageError, match=r"`client.history\(\)` lists later ones, which to= names"):
        client.rollback("iris")
