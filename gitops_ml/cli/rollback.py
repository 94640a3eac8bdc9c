"""`gitops-ml rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import one_environment_option
from gitops_ml.commands.rollback import rollback

if TYPE_CHECKING:
    from gitops_ml.delivery.change import ChangeContext, ChangeResult


@click.command("rollback")
@click.argument("api")
@one_environment_option
@click.option("--to", metavar="ID", help="A deployment id. By default, the previous deployment.")
@change_command
def command(context: ChangeContext, api: str, to: str | None) -> ChangeResult:
    """Restore the files of an earlier deployment, byte for byte.

    Nothing is built or rendered: the files come from the history of the GitOps repository. A deleted
    release can be restored in the same way.

    \b
    Examples:
      gitops-ml rollback iris-classifier -e production
      gitops-ml rollback iris-classifier -e production --to iris-classifier-0123456789ab
    """
    return rollback(context, api, to=to)
