"""`gitops-ml base update`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import dry_run_option, output_option, paths_argument, project_option
from gitops_ml.commands.base import update_bases
from gitops_ml.errors import DifferencesFound
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.image.base_images import BaseMove


@click.group("base")
def command() -> None:
    """The base images that a project's images stand on.

    \b
    Example:
      gitops-ml base update
    """


@command.command("update")
@paths_argument
@project_option
@click.option("--check", is_flag=True, help="Change nothing; exit with 7 where something is newer.")
@dry_run_option
@output_option
def update(
    paths: tuple[Path, ...],
    project_file: Path | None,
    check: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Move every base image to the digest that its tag stands for now.

    image.base of the project file and predictor.image of the manifests are rewritten in place;
    comments and order stay. Review and commit the change like any other: until it is deployed,
    images keep standing on the digest that was reviewed before.

    \b
    Examples:
      gitops-ml base update
      gitops-ml base update --check      (in CI: is there something newer?)
    """
    workspace = open_project(paths, project_file=project_file)
    tools = wiring.tools(workspace.project, root=workspace.root)
    moves = update_bases(paths, project_file=project_file, tools=tools, dry_run=dry_run or check)
    if output == "json":
        report.as_json([facts.base_facts(move) for move in moves])
    elif moves:
        _show(moves)
    else:
        report.echo("nothing here names a base image")
    if check and any(move.state == "newer" for move in moves):
        raise click.exceptions.Exit(DifferencesFound.exit_code)


def _show(moves: tuple[BaseMove, ...]) -> None:
    head = ("place", "image", "before", "after", "state")
    report.table(head, [(_place(m), *_images(m), m.state) for m in moves])


def _place(move: BaseMove) -> str:
    where = f"{move.file}:{move.line}" if move.line else f"{move.file} (the default)"
    return f"{where} {move.path}"


def _images(move: BaseMove) -> tuple[str, str, str]:
    """The image, and the beginnings of both digests: the whole ones are in the documents."""
    name, _, before = move.before.partition("@")
    after = move.after.partition("@")[2]
    return name, before[:19] or "-", after[:19] or "-"
