"""`--output json`: one object for each command, with the keys of `docs/output.md`."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from gitops_ml.cli.main import COMMANDS, gitops_ml
from gitops_ml.client.python_terms import WITHOUT
from gitops_ml.facts.shapes import KEYS, shaped
from tests.support.person import NO_REGISTRY, container_api

PAGE = Path(__file__).parents[2] / "docs" / "output.md"
UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
START = "| command | keys |\n|---|---|\n"
REASONS = ("| command | why Python has no method |", "|---|---|")
MODES = {"inspect --changes", "diff --live", "error"}
"""Shapes that are not those of a command without options."""


def commands(group: click.Group, name: str = "") -> dict[str, click.Command]:
    found = {}
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        full = f"{name} {each}".strip()
        found |= commands(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def has_json(command: click.Command) -> bool:
    options = [each for each in command.params if "--output" in each.opts]
    return any(
        "json" in str(each.type.get_metavar(each, click.Context(command))) for each in options
    )


def test_every_command_with_json_has_a_shape():
    found = {name for name, command in commands(gitops_ml).items() if has_json(command)}
    assert found == set(KEYS) - MODES
    assert {name.split()[0] for name in found} <= set(COMMANDS)


def test_the_page_has_the_keys_of_every_command():
    rows = [f"| `{name}` | {', '.join(f'`{k}`' for k in keys)} |" for name, keys in KEYS.items()]
    reasons = [f"| `{name}` | {why} |" for name, why in WITHOUT.items()]
    lines = [*rows, "", *REASONS, *reasons, ""]
    wanted = PAGE.read_text().partition(START)[0] + START + "\n".join(lines)
    if UPDATE:
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted


def test_a_result_has_exactly_the_keys_of_its_command():
    assert list(shaped("init", not_applied=[], kept=[], written=[])) == [
        "written", "kept", "not_applied",
    ]  # fmt: skip
    for wrong in ({"written": []}, {"written": [], "kept": [], "not_applied": [], "more": 1}):
        with pytest.raises((AssertionError, AttributeError)):
            shaped("init", **wrong)


def id_of(ann) -> str:
    return ann.runs("history", "iris", "-o", "json").json["deployments"][0]["deployment_id"]


def test_every_command_prints_an_object(ann):
    ann.configures()
    ann.has(container_api("iris"))
    ann.deploys("-e", "staging", *NO_REGISTRY)
    place = ("-e", "staging")
    runs = (
        ("version",), ("init", "new"), ("validate",), ("lock",), ("build",),
        ("inspect", "--changes"), ("render", "--offline"), ("check",), ("diff", *place),
        ("deploy", *place, *NO_REGISTRY), ("history", "iris"), ("trace", id_of(ann)),
        ("promote", "iris", "--from", "staging", "--to", "production", "--dry-run"),
        ("patch", "iris", *place, "--set", "autoscaling.max_replicas=7"),
        ("rollback", "iris", *place), ("refresh", "iris", *place),
        ("delete", "iris", *place, "--yes", "--dry-run"), ("bootstrap", "--dry-run"), ("get", *place),
        ("describe", "iris", *place),
    )  # fmt: skip
    for arguments in runs:
        result = ann.runs(*arguments, "-o", "json")
        assert (result.code, list(result.json)) == (0, list(KEYS[_shape(arguments)])), result


def _shape(arguments: tuple[str, ...]) -> str:
    names = (" ".join(arguments[:2]), arguments[0])
    return next(name for name in names if name in KEYS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("cost", "roses"), ("trace", "iris-000000000000"), ("describe", "roses"), ("validate", "nowhere"),
        ("history",), ("compare", "a"), ("predict", "iris", "nothing.json"), ("export", "oci:a", "b"),
        ("model", "pull", "oci://x", "d"), ("bench", "iris", "--rate", "no"), ("lock", "--no"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_failure_is_an_object_too(ann, arguments):
    ann.configures()
    result = ann.runs(*arguments, "-o", "json")
    assert result.code not in (0, 1), result
    assert list(result.json) == ["error"]
    assert {"type", "message"} <= set(result.json["error"])
    assert result.err
