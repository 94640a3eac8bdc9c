"""Every command that a paper names exists, with its subcommands and options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from gitops_ml.cli.main import Commands

ROOT = Path(__file__).parents[1]
PAPERS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
]
_SPAN = re.compile(r"```.*?^\s*```|`([^`]+)`", re.M | re.S)
_LINE = re.compile(r"^\s*(?:\$ |run: |- )?(gitops-ml (?:.*\\\n)*.*)$", re.M)


def commands_in(paper: Path) -> list[list[str]]:
    """The arguments of each command that a line of a block, or code within the text, begins with."""
    found = []
    for block in _SPAN.finditer(paper.read_text("utf-8")):
        texts = _LINE.findall(block[0]) if block[1] is None else [block[1]]
        found += [words for text in texts if (words := _words(text))]
    return found


def _words(text: str) -> list[str]:
    """Up to a comment, a pipe, or the next command."""
    lexer = shlex.shlex(
        " ".join(text.replace("\\\n", " ").split()), posix=True, punctuation_chars="|;&<>"
    )
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []
    end = next(
        (n for n, word in enumerate(words) if word in {"|", "||", "&&", ";", ">", "<"}), None
    )
    return words[1:end] if words[:1] == ["gitops-ml"] else []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_every_command_of_a_paper_exists(paper: Path) -> None:
    wrong = [text for words in commands_in(paper) for text in _wrong(words)]
    assert wrong == []


def _wrong(words: list[str]) -> list[str]:
    group = Commands(name="gitops-ml", params=[])
    command: click.Command = group
    named = {"--help", "--version"}
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return [f"no command {rest[0]}: {' '.join(words)}"]
        command, rest = found, rest[1:]
    named |= {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    options = [each.partition("=")[0] for each in rest if re.match(r"-{1,2}[A-Za-z]", each)]
    return [f"no option {each}: {' '.join(words)}" for each in options if each not in named]


def test_papers_name_commands() -> None:
    found = [words for paper in PAPERS for words in commands_in(paper)]
    assert len(found) > 100
    assert {words[0] for words in found} > {"deploy", "check", "trace", "doctor"}


def test_a_wrong_option_is_found() -> None:
    assert _wrong(["deploy", "--no-such"]) == ["no option --no-such: deploy --no-such"]
    assert _wrong(["model", "sing"]) == ["no command sing: model sing"]
