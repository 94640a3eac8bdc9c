"""`gitops-ml refresh`."""

from __future__ import annotations

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import chosen_apis, force_option, one_environment_option
from gitops_ml.commands.refresh import refresh
from gitops_ml.delivery.change import ChangeContext, ChangeResult
from gitops_ml.delivery.releases import Selection


@click.command("refresh")
@chosen_apis
@one_environment_option
@force_option
@change_command
def command(context: ChangeContext, selection: Selection) -> ChangeResult:
    """Restart a release: new pods with the same image and the same settings.

    The release gets a new deployment id. A later `deploy` of the same manifest neither reverts this
    nor restarts the pods again.

    \b
    Examples:
      gitops-ml refresh iris-classifier -e production
      gitops-ml refresh --team fraud -e staging
    """
    return refresh(context, selection)
