"""`gitops-ml comment`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, output_option, project_option
from gitops_ml.commands.comment import (
    CommentPlace,
    comment_forge,
    comment_number,
    post_comment,
    text_of_others,
)
from gitops_ml.facts.shapes import shaped
from gitops_ml.forge.open import repository_of_ci
from gitops_ml.forge.own_comment import Posted
from gitops_ml.project.project import SourceSpec


@click.command("comment")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--pull-request",
    "number",
    type=click.IntRange(1),
    help="Its number. By default, that of the pull request that the CI job runs for.",
)
@click.option(
    "--commit", metavar="ID", help="Post only if this commit is the head of the pull request."
)
@click.option("--marker", default="check", show_default=True, help="Names the kind of the comment.")
@project_option
@output_option
def command(
    project: ProjectChoice,
    file: Path,
    number: int | None,
    commit: str | None,
    marker: str,
    output: str,
) -> None:
    """Post FILE as the comment of a pull request; a comment from before is updated in place.

    FILE is Markdown that another job wrote, such as that of a fork, which has no secrets. It is treated
    as data: mentions, links, pictures and HTML in it have no effect. In a CI job of GitHub, Gitea, Forgejo
    or GitLab, the job names the repository; elsewhere `source` of the project file does.

    \b
    Examples:
      gitops-ml comment check.md
      gitops-ml comment check.md --pull-request 12 --commit "$HEAD_SHA"
    """
    place = CommentPlace(pull_request=number, commit=commit, marker=marker)

    def source() -> tuple[SourceSpec | None, Path]:
        opened, _ = project.open()
        return opened.project.source, opened.root

    done, found = publish(text_of_others(file), place, source=source)
    if output == "json":
        url = done.comment.url or None
        report.as_json(shaped("comment", done, pull_request=found, url=url))
    else:
        report.echo(sentence(done, found))


def publish(
    text: str, place: CommentPlace, *, source: Callable[[], tuple[SourceSpec | None, Path]]
) -> tuple[Posted, int]:
    """Post ``text``; returns what became of it, and the number of the pull request.

    ``source`` reads the section of the project file that names the repository where no CI service does, and the
    folder of the file.
    """
    number = comment_number(place, os.environ)
    if repository_of_ci(os.environ) is not None:
        forge = comment_forge(None, folder=Path.cwd(), environ=os.environ)
    else:
        spec, folder = source()
        forge = comment_forge(spec, folder=folder, environ=os.environ)
    return post_comment(text, place, forge=forge, number=number), number


def sentence(done: Posted, number: int) -> str:
    return f"{done.action} the comment of pull request {number} {done.comment.url}".rstrip()
