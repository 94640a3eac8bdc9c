"""`gitops-ml rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed, report
from gitops_ml.cli.options import landing, one_environment_option, output_option, project_option
from gitops_ml.commands.rollback import rollback
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rollback")
@click.argument("api")
@one_environment_option
@click.option("--to", metavar="ID", help="The deployment id; otherwise the previous deployment.")
@project_option
@landing
@output_option
def command(
    api: str,
    environment: str,
    to: str | None,
    project_file: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Take a release back to an earlier deployment, byte for byte.

    Nothing is built and nothing is rendered: the files come out of the repository's history. A release
    that was deleted comes back in the same way.

    \b
    Examples:
      gitops-ml rollback iris-classifier -e production
      gitops-ml rollback iris-classifier -e production --to iris-classifier-0123456789ab
    """
    workspace = open_settings(project_file, environments=[environment])
    done = rollback(
        workspace,
        api,
        environment=environment,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
        to=to,
        options=ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request),
    )
    changed.show(done, output=output)
