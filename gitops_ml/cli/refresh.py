"""`gitops-ml refresh`."""

from __future__ import annotations

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
from gitops_ml.commands.refresh import refresh

if TYPE_CHECKING:
    from gitops_ml.cli.options import ProjectChoice
    from gitops_ml.delivery.change import ChangeOptions
    from gitops_ml.delivery.releases import Selection


@click.command("refresh")
@chosen_apis
@one_environment_option
@project_option
@change_options
@output_option
def command(
    selection: Selection, project: ProjectChoice, options: ChangeOptions, output: str
) -> None:
    """Restart a release: new pods with the same image and the same settings.

    The release gets a new deployment id. A later `deploy` of the same manifest neither reverts this
    nor restarts the pods again.

    \b
    Examples:
      gitops-ml refresh iris-classifier -e production
      gitops-ml refresh --team fraud -e staging
    """
    workspace, clients = project.open()
    (environment,) = project.environments
    done = refresh(workspace, selection, environment=environment, tools=clients, options=options)
    changed.show(done, output=output)
