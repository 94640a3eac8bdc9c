"""`gitops-ml rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed
from gitops_ml.cli.options import (
    change_options,
    one_environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.rollback import rollback

if TYPE_CHECKING:
    from gitops_ml.cli.options import ProjectChoice
    from gitops_ml.delivery.change import ChangeOptions


@click.command("rollback")
@click.argument("api")
@one_environment_option
@click.option("--to", metavar="ID", help="A deployment id. By default, the previous deployment.")
@project_option
@change_options
@output_option
def command(
    api: str, to: str | None, project: ProjectChoice, options: ChangeOptions, output: str
) -> None:
    """Restore the files of an earlier deployment, byte for byte.

    Nothing is built or rendered: the files come from the history of the GitOps repository. A deleted
    release can be restored in the same way.

    \b
    Examples:
      gitops-ml rollback iris-classifier -e production
      gitops-ml rollback iris-classifier -e production --to iris-classifier-0123456789ab
    """
    workspace, clients = project.open()
    (environment,) = project.environments
    done = rollback(workspace, api, environment=environment, tools=clients, to=to, options=options)
    changed.show(done, output=output)
