"""`gitops-ml promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed
from gitops_ml.cli.options import change_options, chosen_apis, output_option, project_option
from gitops_ml.commands.promote import promote

if TYPE_CHECKING:
    from gitops_ml.cli.options import ProjectChoice
    from gitops_ml.delivery.change import ChangeOptions
    from gitops_ml.delivery.releases import Selection


@click.command("promote")
@chosen_apis
@click.option("--from", "source", metavar="NAME", help="By default, the environment before --to.")
@click.option("--to", "target", metavar="NAME", help="By default, the environment after --from.")
@click.option("--skip", is_flag=True, help="Allow skipping an environment before a protected one.")
@project_option
@change_options
@output_option
def command(
    selection: Selection,
    source: str | None,
    target: str | None,
    skip: bool,
    project: ProjectChoice,
    options: ChangeOptions,
    output: str,
) -> None:
    """Promote releases from one environment to the next: the same image by its digest.

    Manifest and image come from the GitOps repository, so that exactly what was tested is promoted;
    overrides are those of the target environment. Other differences between the two are shown.

    \b
    Examples:
      gitops-ml promote iris-classifier --from staging --to production
      gitops-ml promote --all --to production --dry-run
      gitops-ml promote --team fraud --label tier=gold --to production
    """
    workspace, clients = project.open()
    done = promote(
        workspace,
        selection,
        tools=clients,
        source=source,
        target=target,
        may_skip=skip,
        options=options,
    )
    changed.show(done, output=output)
