"""`gitops-ml rollback`."""

from __future__ import annotations

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import api_argument, one_environment_option
from gitops_ml.commands.rollback import rollback
from gitops_ml.delivery.change import ChangeContext, ChangeResult


@click.command("rollback")
@api_argument
@one_environment_option
@click.option(
    "--to",
    metavar="ID|COMMIT",
    help="A deployment id, or a commit of the GitOps repository. By default, the previous state.",
)
@change_command
def command(context: ChangeContext, api: str, to: str | None) -> ChangeResult:
    """Restore the files of an earlier state, byte for byte.

    States that differ only in scaling, routes and the like have one deployment id, and no pod restarts
    between them. --to ID takes the last one before the current state; --to COMMIT takes exactly that state.
    `gitops-ml history` lists both.

    A rollback after a rollback goes on back, to the state before the restored one. --to goes forth again.

    Nothing is built or rendered: the files come from the history of the GitOps repository. A deleted
    release can be restored in the same way.

    \b
    Examples:
      gitops-ml rollback iris-classifier -e production
      gitops-ml rollback iris-classifier -e production --to iris-classifier-0123456789ab
      gitops-ml rollback iris-classifier -e production --to 4f2a9c1d0b7e
    """
    return rollback(context, api, to=to)
