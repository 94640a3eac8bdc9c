"""`gitops-ml bootstrap`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    change_options,
    environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.bootstrap import Bootstrapped, bootstrap, bootstrap_folder
from gitops_ml.delivery.change import ChangeContext, ChangeOptions
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import bootstrap_facts
from gitops_ml.gitops import layout


@click.command("bootstrap")
@environment_option
@project_option
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files into this folder; do not touch the repository.",
)
@change_options
@output_option
def command(
    project: ProjectChoice, folder: Path | None, options: ChangeOptions, output: str
) -> None:
    """Prepare the GitOps repository: Argo CD's objects, base charts, CODEOWNERS, a README for ops.

    It can be run again at any time. In files that people edit too, it writes only its own block, and
    does not update that block once it has been edited.

    \b
    Examples:
      gitops-ml bootstrap
      gitops-ml bootstrap -e staging --dry-run
      gitops-ml bootstrap --to gitops/
    """
    workspace, clients = project.open()
    if folder is not None:
        if options.dry_run or options.message or options.pull_request is not None:
            raise UsageError(
                "--to only writes files: do not combine it with --message, --pull-request or --dry-run"
            )
        done = bootstrap_folder(workspace, folder, clients=clients)
    else:
        done = bootstrap(ChangeContext(workspace, clients, options))
    report.warnings(done.warnings)
    for path, difference in done.kept:
        report.warnings([f"{path}: the block of gitops-ml was edited and is not updated"])
        report.say(difference.rstrip("\n"))
    report.result(done, output, facts=bootstrap_facts, show=lambda done: _show(done, folder))


def _show(done: Bootstrapped, folder: Path | None) -> None:
    charts = [chart for change in done.changes if (chart := layout.chart_of(change.path))]
    for chart in sorted(set(charts)):
        report.changed("add", f"{chart}: the base chart, {charts.count(chart)} files")
    for change in done.changes:
        if layout.chart_of(change.path) is None:
            report.changed(change.action, change.path)
    report.echo(f"{len(done.changes)} files written to {folder}" if folder else done.summary())
    if not done.changes:
        return
    report.echo("\nNext, in a checkout of the repository:")
    for step in done.steps:
        report.echo(f"  # {step.title}")
        for line in step.commands:
            report.echo(f"  {line}")
    report.echo("\nAt the forge:")
    for line in done.advice:
        report.echo(f"  * {line}")
