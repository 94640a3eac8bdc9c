"""`gitops-ml promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import changed, report
from gitops_ml.cli.options import chosen_apis, landing, output_option, pairs, project_option
from gitops_ml.commands.promote import promote
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.delivery.releases import Selection
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("promote")
@chosen_apis
@click.option("--from", "source", metavar="NAME", help="Otherwise the environment before --to.")
@click.option("--to", "target", metavar="NAME", help="Otherwise the environment after --from.")
@click.option("--skip", is_flag=True, help="Go past an environment into a protected one.")
@project_option
@landing
@output_option
def command(
    apis: tuple[str, ...],
    every: bool,
    teams: tuple[str, ...],
    labels: tuple[str, ...],
    source: str | None,
    target: str | None,
    skip: bool,
    project_file: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Give an environment what stands in the one before it: the same image by its digest.

    Manifest and image come from the GitOps repository, so that what was tried is what goes on; the
    overrides are those of the target. What else differs between the two is shown.

    \b
    Examples:
      gitops-ml promote iris-classifier --from staging --to production
      gitops-ml promote --all --to production --dry-run
      gitops-ml promote --team fraud --label tier=gold --to production
    """
    selection = Selection(apis=apis, every=every, teams=teams, labels=pairs(labels))
    workspace = open_settings(project_file)
    done = promote(
        workspace,
        selection,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
        source=source,
        target=target,
        may_skip=skip,
        options=ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request),
    )
    changed.show(done, output=output)
