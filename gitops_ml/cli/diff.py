"""`gitops-ml diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import offline_option, output_option, selection
from gitops_ml.commands.diff import diff
from gitops_ml.errors import DifferencesFound
from gitops_ml.gitops.differences import ObjectChange, unified_diff
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from pathlib import Path


@click.command("diff")
@selection
@click.option(
    "--manifests", is_flag=True, help="Show the Kubernetes objects that would change, by field."
)
@click.option("--exit-code", is_flag=True, help="Exit with 7 where there are differences.")
@offline_option
@output_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    manifests: bool,
    exit_code: bool,
    offline: bool,
    output: str,
) -> None:
    """Compare with the GitOps repository: what would `deploy` change?

    \b
    Examples:
      gitops-ml diff -e staging
      gitops-ml diff --manifests --exit-code
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    tools = wiring.tools(
        workspace.project, root=workspace.root, offline=offline, progress=report.progress
    )
    differences = diff(workspace, tools=tools, with_objects=manifests)
    report.warnings(differences.warnings)
    if output == "json":
        report.as_json(facts.differences_facts(differences))
    elif manifests:
        for directory, changed in differences.objects:
            report.echo(directory)
            for change in changed:
                _show_object(change)
    else:
        for folder, count in differences.new_charts():
            _show_file(f"+ {folder}: the base chart, {count} files")
        for file in differences.own_changes():
            _show_file(unified_diff(file))
    if output != "json":
        report.echo(differences.summary())
    if exit_code and differences.changes:
        raise click.exceptions.Exit(DifferencesFound.exit_code)


def _show_file(text: str) -> None:
    for line in text.splitlines():
        what = {"+": "add", "-": "delete"}.get(line[:1], "")
        report.echo(report.styled(line, what))


def _show_object(change: ObjectChange) -> None:
    mark = {"add": "+", "delete": "-", "modify": "~"}[change.action]
    report.echo(report.styled(f"  {mark} {change.kind}/{change.name}", change.action))
    report.fields(change.fields, indent="      ", longest=200)
