"""`gitops-ml history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import environment_option, output_option, project_option
from gitops_ml.commands import history_facts
from gitops_ml.commands.history import history
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("history")
@click.argument("api")
@environment_option
@project_option
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="0 shows all."
)
@output_option
def command(
    api: str, environments: tuple[str, ...], project_file: Path | None, limit: int, output: str
) -> None:
    """Show the deployments of an API: which, when, who, what changed, and the pull request.

    The mark * is what stands there now. An API that is gone has a history, too.

    \b
    Examples:
      gitops-ml history iris-classifier
      gitops-ml history iris-classifier -e production --limit 0
    """
    workspace = open_settings(project_file, environments=environments)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    found = history(workspace, api, tools=tools, environments=environments, limit=limit or None)
    report.warnings(found.warnings)
    if output == "json":
        report.as_json(history_facts.history_facts(found))
        return
    report.table(
        ("", "environment", "deployment id", "when", "who", "what", "changed", "pr", "commit"),
        [
            (
                "*" if entry.is_current else "",
                entry.environment,
                entry.deployment_id or "-",
                history_facts.time_for_people(entry.when),
                entry.author.partition(" <")[0],
                entry.action,
                history_facts.changes_in_short(entry.changes),
                f"#{entry.pull_request}" if entry.pull_request else "",
                entry.commit[:12],
            )
            for entry in found.entries
        ],
    )
