"""`gitops-ml history`."""

from __future__ import annotations

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import ProjectChoice, environment_option, output_option, project_option
from gitops_ml.commands.history import history, table_row


@click.command("history")
@click.argument("api")
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
        report.as_json(facts.history_facts(found))
        return
    report.table(
        ("", "environment", "deployment id", "when", "who", "what", "changed", "pr", "commit"),
        map(table_row, found.entries),
    )
