"""`gitops-ml delete`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed
from gitops_ml.cli.options import (
    change_options,
    chosen_apis,
    one_environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.delete import delete
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from gitops_ml.cli.options import ProjectChoice
    from gitops_ml.delivery.releases import Selection


@click.command("delete")
@chosen_apis
@one_environment_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@project_option
@change_options
@output_option
def command(
    selection: Selection,
    yes: bool,
    project: ProjectChoice,
    options: ChangeOptions,
    output: str,
) -> None:
    """Remove releases from the GitOps repository; Argo CD then deletes their objects.

    On a terminal it asks for confirmation. In a protected environment Argo CD keeps the objects, and
    a warning says what an administrator has to do. `gitops-ml rollback` restores a release.

    \b
    Examples:
      gitops-ml delete iris-classifier -e staging
      gitops-ml delete --team fraud -e staging --yes
    """
    workspace, clients = project.open()
    (environment,) = project.environments
    if not (yes or options.dry_run):
        if sys.stdin.isatty():
            found = delete(
                workspace,
                selection,
                environment=environment,
                tools=clients,
                options=ChangeOptions(dry_run=True),
            )
            names = ", ".join(release.api for release in found.releases)
            click.confirm(f"Remove {names} from {environment}?", abort=True, err=True)
        elif workspace.project.environments[environment].protected:
            raise UsageError(
                f"{environment} is protected, and there is no terminal to ask on: add --yes"
            )
    done = delete(workspace, selection, environment=environment, tools=clients, options=options)
    changed.show(done, output=output)
