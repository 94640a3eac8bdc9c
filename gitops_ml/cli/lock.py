"""`gitops-ml lock`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import output_option, selection
from gitops_ml.commands.lock import lock, reasons_for_none
from gitops_ml.errors import DifferencesFound
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from pathlib import Path


@click.command("lock")
@selection
@click.option("--upgrade", is_flag=True, help="Take the newest versions, not those of the lock.")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 7 where a lock is not up to date."
)
@output_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    upgrade: bool,
    check: bool,
    output: str,
) -> None:
    """Write which wheels images get, with their hashes, beside the requirements: commit it.

    It is made for the Python and the platforms of the images, not for those of this machine, and
    only where the requirements have changed. `build` and `deploy` do the same when they have to;
    `--frozen` keeps them from it.

    \b
    Examples:
      gitops-ml lock
      gitops-ml lock --upgrade --api iris-classifier
      gitops-ml lock --check
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    locks = lock(workspace, tools=tools, upgrade=upgrade, check=check)
    if output == "json":
        report.as_json([facts.lock_facts(item) for item in locks])
    elif not locks:
        report.echo("no API here has an image that is built without Docker")
        for api, reason in reasons_for_none(workspace, tools=tools).items():
            report.echo(f"  {api}: {reason}")
    else:
        for item in locks:
            count = f", {len(item.lock.packages)} packages" if item.lock else ""
            report.echo(f"{os.path.relpath(item.path)}: {item.state}{count}")
            for change in item.changes:
                report.echo(f"  {change}")
    if check and not all(item.is_up_to_date for item in locks):
        raise click.exceptions.Exit(DifferencesFound.exit_code)
