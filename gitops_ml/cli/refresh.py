"""`gitops-ml refresh`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed, report
from gitops_ml.cli.options import (
    chosen_apis,
    landing,
    one_environment_option,
    output_option,
    pairs,
    project_option,
)
from gitops_ml.commands.patch import refresh
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.delivery.releases import Selection
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("refresh")
@chosen_apis
@one_environment_option
@project_option
@landing
@output_option
def command(
    apis: tuple[str, ...],
    every: bool,
    teams: tuple[str, ...],
    labels: tuple[str, ...],
    environment: str,
    project_file: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Roll out what stands there anew: new pods with the same image and the same settings.

    The release gets a deployment id of its own. A later `deploy` of the same manifest neither undoes
    this nor rolls out once more.

    \b
    Examples:
      gitops-ml refresh iris-classifier -e production
      gitops-ml refresh --team fraud -e staging
    """
    selection = Selection(apis=apis, every=every, teams=teams, labels=pairs(labels))
    workspace = open_settings(project_file, environments=[environment])
    done = refresh(
        workspace,
        selection,
        environment=environment,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
        options=ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request),
    )
    changed.show(done, output=output)
