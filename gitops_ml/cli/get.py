"""`gitops-ml get`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    complete_apis,
    environment_option,
    looks,
    output_option,
    project_option,
    watch_option,
)
from gitops_ml.cli.recorded import show_predictions
from gitops_ml.cli.report import short_id
from gitops_ml.commands.get import LiveRelease, Overview, list_live, utc_now
from gitops_ml.facts.result_facts import overview_facts


@click.command("get")
@click.argument("api", required=False, shell_complete=complete_apis)
@project_option
@environment_option
@watch_option
@output_option
def command(api: str | None, project: ProjectChoice, watch: bool, output: str) -> None:
    """List releases with their status: what Git wants, and what runs.

    The clusters of the project file are reached by the kubeconfig. Without a kubeconfig, the list
    shows what the GitOps repository has.

    \b
    Examples:
      gitops-ml get
      gitops-ml get iris-classifier -e production --watch
    """
    workspace, clients = project.open()
    for _ in looks(watch, output=output):
        found = list_live(workspace, clients=clients, api=api)
        report.result(found, output, facts=overview_facts, show=_show)


def _show(overview: Overview) -> None:
    if not overview.releases:
        report.say("the GitOps repository has no release of this project in these environments")
    else:
        report.table(
            ("environment", "api", "status", "ready", "deployment id", "up to date", "last update"),
            map(_row, overview.releases),
            cut="status",
            less=("deployment id", "up to date"),
        )
    for live in overview.releases:
        why = filter(None, (live.status.reason, live.status.remedy, *live.notes))
        if text := "; ".join(why):
            report.explain(f"{live.release.api} in {live.release.environment}: ", text)
    show_predictions(overview.predictions)
    report.warnings(overview.unseen)


def _row(live: LiveRelease) -> tuple[str, ...]:
    workload = live.seen.workload
    return (
        live.release.environment,
        live.release.api,
        live.status.state,
        f"{workload.ready}/{workload.requested}" if workload else "-",
        short_id(live.release.deployment_id, live.release.api),
        {True: "yes", False: "no", None: "-"}[live.is_up_to_date],
        report.age(live.updated_at, now=utc_now()),
    )
