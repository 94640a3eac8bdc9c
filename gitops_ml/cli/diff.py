"""`gitops-ml diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import offline_option, output_option, selection
from gitops_ml.commands.diff import diff
from gitops_ml.errors import DifferencesFound
from gitops_ml.gitops.differences import ObjectChange, unified_diff

if TYPE_CHECKING:
    from gitops_ml.cli.options import ProjectChoice


@click.command("diff")
@selection
@click.option(
    "--manifests",
    is_flag=True,
    help="Show the Kubernetes objects that would change, field by field.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 7 if there are differences.")
@offline_option
@output_option
def command(
    project: ProjectChoice,
    manifests: bool,
    exit_code: bool,
    offline: bool,
    output: str,
) -> None:
    """Show what `deploy` would change in the GitOps repository.

    \b
    Examples:
      gitops-ml diff -e staging
      gitops-ml diff --manifests --exit-code
    """
    workspace, clients = project.open_with_manifests(offline=offline)
    differences = diff(workspace, tools=clients, with_objects=manifests)
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
            report.changed("add", f"{folder}: the base chart, {count} files")
        for file in differences.own_changes():
            _show_diff(unified_diff(file))
    if output != "json":
        report.echo(differences.summary())
    if exit_code and differences.changes:
        raise click.exceptions.Exit(DifferencesFound.exit_code)


def _show_diff(text: str) -> None:
    for line in text.splitlines():
        action = {"+": "add", "-": "delete"}.get(line[:1], "")
        report.echo(report.styled(line, action))


def _show_object(change: ObjectChange) -> None:
    report.changed(change.action, f"{change.kind}/{change.name}", indent="  ")
    report.fields(change.fields, indent="      ", longest=200)
