"""`gitops-ml diff`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, offline_option, output_option, selection
from gitops_ml.commands.diff import Differences, diff
from gitops_ml.facts.result_facts import differences_facts
from gitops_ml.gitops.differences import unified_diff


@click.command("diff")
@selection
@click.option(
    "--manifests",
    is_flag=True,
    help="Show the Kubernetes objects that would change, field by field.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Compare Git with the cluster: what differs, and who changed it.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 7 if there are differences.")
@offline_option
@output_option
def command(
    project: ProjectChoice,
    manifests: bool,
    live: bool,
    exit_code: bool,
    offline: bool,
    output: str,
) -> None:
    """Show what `deploy` would change in the GitOps repository.

    Without --environment, protected environments are left out, as by `deploy`.

    \b
    Examples:
      gitops-ml diff -e staging
      gitops-ml diff --manifests --exit-code
      gitops-ml diff --live -e production --exit-code
    """
    if live:
        _live(project, exit_code=exit_code, output=output, is_whole=manifests or offline)
        return
    workspace, clients = project.open_with_manifests(offline=offline, spares_protected=True)
    project.report_environments(workspace, "comparing")
    differences = diff(workspace, clients=clients, with_objects=manifests)
    report.warnings(differences.warnings)
    if output == "json":
        report.as_json(differences_facts(differences))
    else:
        show = _show_objects if manifests else _show_files
        show(differences)
        for directory, pods in differences.pods.items():
            _, environment, api = directory.split("/")
            report.echo(f"{api} in {environment}: {pods}")
        report.echo(differences.summary())
    report.exit_if_different(exit_code and bool(differences.changes))


def _live(project: ProjectChoice, *, exit_code: bool, output: str, is_whole: bool) -> None:
    from gitops_ml.cli import live
    from gitops_ml.commands.live import drift
    from gitops_ml.facts.running_facts import drift_facts

    if is_whole or project.paths:
        raise click.UsageError(
            "--live compares the GitOps repository with the cluster: leave PATH, --manifests and "
            "--offline out"
        )
    workspace, clients = project.open()
    found = drift(workspace, clients=clients, apis=project.apis)
    report.warnings(found.warnings)
    if output == "json":
        report.as_json(drift_facts(found))
    else:
        live.show(found)
    report.exit_if_different(exit_code and not found.is_clean)


def _show_files(differences: Differences) -> None:
    for folder, count in differences.new_charts():
        report.changed("add", f"{folder}: the base chart, {count} files")
    for file in differences.own_changes():
        for line in unified_diff(file).splitlines():
            action = {"+": "add", "-": "delete"}.get(line[:1], "")
            report.echo(report.styled(line, action))


def _show_objects(differences: Differences) -> None:
    for directory, changes in differences.objects:
        report.echo(directory)
        for change in changes:
            report.changed(change.action, f"{change.kind}/{change.name}", indent="  ")
            report.fields(change.fields, indent="      ", longest=200)
