"""`gitops-ml base update`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    dry_run_option,
    output_option,
    paths_argument,
    project_option,
)
from gitops_ml.commands.base import BaseMove, update_bases
from gitops_ml.facts.result_facts import bases_facts


@click.group("base")
def command() -> None:
    """Manage the base images of a project.

    \b
    Example:
      gitops-ml base update
    """


@command.command("update")
@paths_argument
@project_option
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 7 if a newer base image exists."
)
@dry_run_option
@output_option
def update(project: ProjectChoice, check: bool, dry_run: bool, output: str) -> None:
    """Pin every base image to the current digest of its tag.

    Rewrites image.base of the project file and predictor.image of the manifests in place; comments
    and order stay. Review and commit the change like any other: until it is deployed, images keep
    the digest that was reviewed before.

    \b
    Examples:
      gitops-ml base update
      gitops-ml base update --check      (in CI: is a newer base image available?)
    """
    _, clients = project.open_with_manifests(may_be_empty=True)
    moves = update_bases(
        project.paths, project_file=project.file, clients=clients, dry_run=dry_run or check
    )
    if output == "json":
        report.as_json(bases_facts(moves))
    elif moves:
        _show(moves)
    else:
        report.echo("no document of this project names a base image")
    report.exit_if_different(check and any(move.state == "newer" for move in moves))


def _show(moves: tuple[BaseMove, ...]) -> None:
    head = ("place", "image", "before", "after", "state")
    report.table(head, [(_place(m), *_images(m), m.state) for m in moves])


def _place(move: BaseMove) -> str:
    where = f"{move.file}:{move.line}" if move.line else f"{move.file} (the default)"
    return f"{where} {move.path}"


def _images(move: BaseMove) -> tuple[str, str, str]:
    """The image and the first characters of both digests; the documents have them in full."""
    name, _, before = move.before.partition("@")
    after = move.after.partition("@")[2]
    return name, before[:19] or "-", after[:19] or "-"
