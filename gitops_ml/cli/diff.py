"""`gitops-ml diff`."""

from __future__ import annotations

import json

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, offline_option, output_option, selection
from gitops_ml.commands.diff import Differences, Drift, ReleaseDrift, diff, drift
from gitops_ml.commands.get import utc_now
from gitops_ml.documents.findings import count_of
from gitops_ml.facts.result_facts import differences_facts, drift_facts
from gitops_ml.gitops.differences import unified_diff
from gitops_ml.gitops.drift import LiveDifference

_LONGEST = 120
_WHOLE = {
    "add": "in the cluster, and not in Git",
    "delete": "in Git only",
    "modify": "not as in Git, by Argo CD's comparison",
}


@click.command("diff")
@selection
@click.option(
    "--manifests",
    is_flag=True,
    help="Show the Kubernetes objects that would change, field by field.",
)
@click.option(
    "--live", is_flag=True, help="Compare Git with the cluster: what differs, and who changed it."
)
@click.option("--exit-code", is_flag=True, help="Exit with 7 if there are differences.")
@offline_option
@output_option
def command(
    project: ProjectChoice, manifests: bool, live: bool, exit_code: bool, offline: bool, output: str
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
    if is_whole or project.paths:
        raise click.UsageError(
            "--live compares the GitOps repository with the cluster: leave PATH, --manifests and "
            "--offline out"
        )
    workspace, clients = project.open()
    found = drift(workspace, clients=clients, apis=project.apis)
    report.warnings(found.warnings)
    report.result(found, output, facts=drift_facts, show=_show_drift)
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


def _show_drift(found: Drift) -> None:
    for release in found.releases:
        _show_release(release)
    count = sum(len(release.unexpected) for release in found.releases)
    if count:
        report.echo(f"{count_of(count, 'difference')} between Git and the cluster")
    elif found.releases:
        report.echo("the cluster is as in Git")


def _show_release(release: ReleaseDrift) -> None:
    commit = f" at {release.revision[:12]}" if release.revision else ""
    says = f"Argo CD: {release.sync}{commit}" if release.sync else "Argo CD: no Application"
    report.echo(f"{release.api} in {release.environment} ({says})")
    shown = ""
    for each in release.differences:
        name = f"{each.kind}/{each.name}"
        if name != shown and each.path:
            report.echo(f"  {name}")
        shown = name
        report.changed(each.action, _line(each), indent="    " if each.path else "  ")


def _line(each: LiveDifference) -> str:
    if not each.path:
        return f"{each.kind}/{each.name}: {_WHOLE[each.action]}{_by(each)}"
    git, live = _in_short(each.git), _in_short(each.live)
    values = {"add": live, "delete": f"{git} is missing", "modify": f"{git} -> {live}"}
    return f"{each.path}: {values[each.action]}{_by(each)}"


def _by(each: LiveDifference) -> str:
    if each.owner is None:
        return ""
    age = f", {report.age(each.owner.at, now=utc_now())} ago" if each.owner.at else ""
    expected = ", as intended" if each.is_expected else ""
    return f" ({each.owner.name}{age}{expected})"


def _in_short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
