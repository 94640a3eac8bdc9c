"""`gitops-ml bootstrap`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import environment_option, landing, output_option, project_option
from gitops_ml.commands.bootstrap import bootstrap, bootstrap_folder
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.errors import UsageError
from gitops_ml.gitops import layout
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gitops_ml.commands.bootstrap import Bootstrapped


@click.command("bootstrap")
@environment_option
@project_option
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files into this folder and leave the repository alone.",
)
@landing
@output_option
def command(
    environments: tuple[str, ...],
    project_file: Path | None,
    folder: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Prepare the GitOps repository: Argo CD's objects, base charts, CODEOWNERS, a README for ops.

    It can be run again at any time. In files that belong to people it writes a block of its own, and
    leaves that alone once somebody has edited it.

    \b
    Examples:
      gitops-ml bootstrap
      gitops-ml bootstrap -e staging --dry-run
      gitops-ml bootstrap --to gitops/
    """
    workspace = open_settings(project_file, environments=environments)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    options = ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request)
    if folder is not None:
        if dry_run or message or pull_request is not None:
            raise UsageError("--to writes files and commits nothing: leave the other options out")
        done = bootstrap_folder(workspace, folder, tools=tools)
    else:
        done = bootstrap(workspace, tools=tools, options=options)
    report.warnings(done.warnings)
    for path, difference in done.kept:
        report.warnings([f"{path}: somebody has edited our block, and it is left as it is"])
        report.say(difference.rstrip("\n"))
    if output == "json":
        report.as_json(_facts(done))
    else:
        _show(done, folder)


def _show(done: Bootstrapped, folder: Path | None) -> None:
    charts = [chart for change in done.changes if (chart := layout.chart_of(change.path))]
    for chart in sorted(set(charts)):
        report.echo(report.styled(f"+ {chart}: the base chart, {charts.count(chart)} files", "add"))
    for change in done.changes:
        if layout.chart_of(change.path) is None:
            sign = {"add": "+", "modify": "~", "delete": "-"}[change.action]
            report.echo(report.styled(f"{sign} {change.path}", change.action))
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


def _facts(done: Bootstrapped) -> Mapping[str, Any]:
    return {
        "commit": done.commit,
        "pull_request": facts.pull_request_facts(done.pull_request),
        "dry_run": done.dry_run,
        "changes": [{"path": change.path, "action": change.action} for change in done.changes],
        "kept": [{"path": path, "difference": difference} for path, difference in done.kept],
        "steps": [{"title": step.title, "commands": list(step.commands)} for step in done.steps],
        "advice": list(done.advice),
        "warnings": list(done.warnings),
    }
