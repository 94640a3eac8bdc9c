"""`gitops-ml promote`."""

from __future__ import annotations

import click

from gitops_ml.cli.changed import change_command
from gitops_ml.cli.options import chosen_apis, complete_environments
from gitops_ml.commands.promote import promote
from gitops_ml.delivery.change import ChangeContext, ChangeResult
from gitops_ml.delivery.releases import Selection


@click.command("promote")
@chosen_apis
@click.option(
    "--from",
    "source",
    metavar="NAME",
    help="By default, the environment before --to.",
    shell_complete=complete_environments,
)
@click.option(
    "--to",
    "target",
    metavar="NAME",
    help="By default, the environment after --from.",
    shell_complete=complete_environments,
)
@click.option("--skip", is_flag=True, help="Allow skipping an environment before a protected one.")
@change_command
def command(
    context: ChangeContext, selection: Selection, source: str | None, target: str | None, skip: bool
) -> ChangeResult:
    """Promote releases from one environment to the next: the same image by its digest.

    Manifest and image come from the GitOps repository, so that exactly what was tested is promoted;
    overrides are those of the target environment. Other differences between the two are shown.

    \b
    Examples:
      gitops-ml promote iris-classifier --from staging --to production
      gitops-ml promote --all --to production --dry-run
      gitops-ml promote --team fraud --label tier=gold --to production
    """
    return promote(context, selection, source=source, target=target, may_skip=skip)
