"""`gitops-ml trace`."""

from __future__ import annotations

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import ProjectChoice, output_option, project_option
from gitops_ml.commands.history import trace, trace_lines
from gitops_ml.documents.yaml_writer import write_yaml


@click.command("trace")
@click.argument("deployment_id")
@project_option
@output_option
def command(deployment_id: str, project: ProjectChoice, output: str) -> None:
    """Show the origin of a deployment id: commit, pull request, image, source and manifest.

    The id is in the header `x-deployment-id` of each prediction, in metrics, logs and pod labels. A
    prefix is enough if it is unique.

    \b
    Examples:
      gitops-ml trace iris-classifier-0123456789ab
      gitops-ml trace iris-classifier-0123456789ab --output json
    """
    workspace, clients = project.open()
    found = trace(workspace, deployment_id, clients=clients)
    document = facts.trace_facts(found)
    if output == "json":
        report.as_json(document)
        return
    for name, value in trace_lines(found):
        report.echo(f"{name + ':':<16}{value}")
    report.echo("manifest:")
    for line in write_yaml([document["manifest"]]).splitlines():
        report.echo(f"  {line}")
