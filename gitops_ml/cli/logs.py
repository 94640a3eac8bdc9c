"""`gitops-ml logs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import first_environment_option, output_option, project_option
from gitops_ml.commands.logs import CONTAINER, follow, logs
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_ml.commands.logs import LogLine


@click.command("logs")
@click.argument("api")
@project_option
@first_environment_option
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with lines as they come.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(0),
    help="Only so many of the newest lines.",
    metavar="LINES",
)
@click.option(
    "-c", "--container", default=CONTAINER, show_default=True, help="Another container of the pods."
)
@output_option
def command(
    api: str,
    project_file: Path | None,
    environment: str | None,
    follows: bool,
    tail: int | None,
    container: str,
    output: str,
) -> None:
    """Show what the replicas of an API say, all of them in one stream.

    Of a replica that has crashed it shows the last attempt. With --output json each line is an object.

    \b
    Examples:
      gitops-ml logs iris-classifier --tail 100
      gitops-ml logs iris-classifier -e production --follow
    """
    workspace = open_settings(project_file, environments=(environment,) if environment else ())
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    where = workspace.environments[0]
    lines: Iterator[LogLine]
    if follows:
        lines = follow(
            workspace, api, tools=tools, environment=where, container=container,
            tail=100 if tail is None else tail,
        )  # fmt: skip
    else:
        lines = logs(workspace, api, tools=tools, environment=where, container=container, tail=tail)
    for line in lines:
        if output == "json":
            click.echo(json.dumps({"time": line.at, "replica": line.pod, "line": line.text}))
        else:
            report.log_line(line.pod, line.text)
