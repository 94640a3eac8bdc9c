"""`gitops-ml history`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    api_argument,
    environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.history import history, table_row
from gitops_ml.facts.result_facts import history_facts
from gitops_ml.gitops.release_history import Entry


@click.command("history")
@api_argument
@environment_option
@project_option
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="0 shows all."
)
@output_option
def command(api: str, project: ProjectChoice, limit: int, output: str) -> None:
    """Show the deployments of an API: which, when, who, what changed, and the pull request.

    The mark * is the current release. A deleted API keeps its history.

    \b
    Examples:
      gitops-ml history iris-classifier
      gitops-ml history iris-classifier -e production --limit 0
    """
    workspace, clients = project.open()
    found = history(
        workspace, api, clients=clients, environments=project.environments, limit=limit or None
    )
    report.warnings(found.warnings)
    if output == "json":
        report.as_json(history_facts(found, api))
        return
    report.table(
        ("", "environment", "deployment id", "when", "who", "what", "changed", "pr", "commit"),
        map(_row, found.entries),
        cut="changed",
        less=("commit", "what"),
    )


def _row(entry: Entry) -> tuple[str, ...]:
    mark, environment, id, when, who, *others, commit = table_row(entry)
    return (
        mark,
        environment,
        report.short_id(id, entry.api),
        report.since(entry.when, when),
        report.short_name(who),
        *others,
        report.short_commit(commit),
    )
