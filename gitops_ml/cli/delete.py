"""`gitops-ml delete`."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import chosen_apis, one_environment_option
from gitops_ml.commands.delete import delete
from gitops_ml.delivery.change import ChangeContext, ChangeOptions, ChangeResult
from gitops_ml.delivery.releases import Selection
from gitops_ml.errors import UsageError


@click.command("delete")
@chosen_apis
@one_environment_option
@click.option("-y", "--yes", "-f", "--force", is_flag=True, help="Do not ask for confirmation.")
@change_command
def command(context: ChangeContext, selection: Selection, yes: bool) -> ChangeResult:
    """Remove releases from the GitOps repository; Argo CD then deletes their objects.

    It asks for confirmation; without a terminal it needs --yes. In a protected environment Argo CD keeps
    the objects, and a warning says what an administrator has to do. `gitops-ml rollback` restores a release.

    \b
    Examples:
      gitops-ml delete iris-classifier -e staging
      gitops-ml delete --team fraud -e staging --yes
    """
    if not (yes or context.options.dry_run):
        _confirm(context, selection)
    return delete(context, selection)


def _confirm(context: ChangeContext, selection: Selection) -> None:
    environment = context.environment
    if sys.stdin.isatty():
        found = delete(replace(context, options=ChangeOptions(dry_run=True)), selection)
        names = ", ".join(release.api for release in found.releases)
        click.confirm(f"Remove {names} from {environment}?", abort=True, err=True)
    else:
        raise UsageError(
            f"this removes releases from {environment}, and there is no terminal to ask on: add --yes"
        )
