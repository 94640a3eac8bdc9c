"""`gitops-ml delete`."""

from __future__ import annotations

import sys
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
from gitops_ml.commands.delete import delete
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.delivery.releases import Selection
from gitops_ml.errors import UsageError
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("delete")
@chosen_apis
@one_environment_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@project_option
@landing
@output_option
def command(
    apis: tuple[str, ...],
    every: bool,
    teams: tuple[str, ...],
    labels: tuple[str, ...],
    environment: str,
    yes: bool,
    project_file: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Remove releases from the GitOps repository; Argo CD takes what runs away.

    On a terminal it asks first. In a protected environment Argo CD keeps what runs: the warning says
    what an administrator has to do. `gitops-ml rollback` brings a release back.

    \b
    Examples:
      gitops-ml delete iris-classifier -e staging
      gitops-ml delete --team fraud -e staging --yes
    """
    selection = Selection(apis=apis, every=every, teams=teams, labels=pairs(labels))
    workspace = open_settings(project_file, environments=[environment])
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    options = ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request)
    if not (yes or dry_run):
        if sys.stdin.isatty():
            found = delete(
                workspace,
                selection,
                environment=environment,
                tools=tools,
                options=ChangeOptions(dry_run=True),
            )
            names = ", ".join(release.api for release in found.releases)
            click.confirm(f"Remove {names} from {environment}?", abort=True, err=True)
        elif workspace.project.environments[environment].protected:
            raise UsageError(f"{environment} is protected, and nobody can be asked: say --yes")
    done = delete(workspace, selection, environment=environment, tools=tools, options=options)
    changed.show(done, output=output)
