"""`gitops-ml get`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import live_facts, report
from gitops_ml.cli.options import environment_option, output_option, project_option
from gitops_ml.commands.get import LiveRelease, Overview, list_live, utc_now
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path

_WATCH_EVERY = 2.0


@click.command("get")
@click.argument("api", required=False)
@project_option
@environment_option
@click.option(
    "-w", "--watch", is_flag=True, help="Look again every two seconds, until interrupted."
)
@output_option
def command(
    api: str | None,
    project_file: Path | None,
    environments: tuple[str, ...],
    watch: bool,
    output: str,
) -> None:
    """List releases with their status: what Git wants, and what runs.

    The clusters are those of the project file, reached by the kubeconfig. Without one the list is
    what the GitOps repository has.

    \b
    Examples:
      gitops-ml get
      gitops-ml get iris-classifier -e production --watch
    """
    workspace = open_settings(project_file, environments=environments)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    if watch and output == "json":
        raise click.UsageError("--watch is for people; with --output json, ask again")
    while True:
        overview = list_live(workspace, tools=tools, api=api)
        if watch:
            click.clear()  # on terminals only
        _show(overview, output)
        if not watch:
            return
        time.sleep(_WATCH_EVERY)


def _show(overview: Overview, output: str) -> None:
    if output == "json":
        report.as_json(live_facts.overview_facts(overview))
        return
    if not overview.releases:
        report.say("the GitOps repository has no release of this project here")
    else:
        report.table(
            ("environment", "api", "status", "ready", "deployment id", "up to date", "last update"),
            map(_row, overview.releases),
        )
    for live in overview.releases:
        if words := live_facts.explanation(live):
            report.say(f"{live.release.api} in {live.release.environment}: {words}")
    for reason in overview.unseen:
        report.say(f"{report.styled('warning', 'warning', err=True)}: {reason}")


def _row(live: LiveRelease) -> tuple[str, ...]:
    workload = live.seen.workload
    return (
        live.release.environment,
        live.release.api,
        live.status.word,
        f"{workload.ready}/{workload.requested}" if workload else "-",
        live.release.deployment_id,
        {True: "yes", False: "no", None: "-"}[live.is_up_to_date],
        report.age(live.updated_at, now=utc_now()),
    )
