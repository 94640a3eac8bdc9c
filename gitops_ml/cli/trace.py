"""`gitops-ml trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option, project_option
from gitops_ml.commands import history_facts
from gitops_ml.commands.history import trace
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command("trace")
@click.argument("deployment_id")
@project_option
@output_option
def command(deployment_id: str, project_file: Path | None, output: str) -> None:
    """Lead from a deployment id to everything behind it: commit, pull request, image, source, manifest.

    The id is in the header `x-deployment-id` of each prediction, in metrics, logs and pod labels. Its
    beginning will do where only one id begins so.

    \b
    Examples:
      gitops-ml trace iris-classifier-0123456789ab
      gitops-ml trace iris-classifier-0123456789ab --output json
    """
    workspace = open_settings(project_file)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    found = trace(workspace, deployment_id, tools=tools)
    facts = history_facts.trace_facts(found)
    if output == "json":
        report.as_json(facts)
        return
    for name, value in history_facts.trace_lines(found):
        report.echo(f"{name + ':':<16}{value}")
    report.echo("manifest:")
    for line in write_yaml([facts["manifest"]]).splitlines():
        report.echo(f"  {line}")
