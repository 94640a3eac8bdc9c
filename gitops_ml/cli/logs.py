"""`gitops-ml logs`."""

from __future__ import annotations

import json

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    api_argument,
    first_environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.logs import CONTAINER, follow, logs
from gitops_ml.facts.shapes import shaped
from gitops_ml.system.clean_text import printable_json


@click.command("logs")
@api_argument
@project_option
@first_environment_option
@click.option("-f", "--follow", "follows", is_flag=True, help="Print new lines as they come.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(0),
    help="Only this number of newest lines.",
    metavar="LINES",
)
@click.option(
    "-c", "--container", default=CONTAINER, show_default=True, help="The container of the pods."
)
@output_option
def command(
    api: str, project: ProjectChoice, follows: bool, tail: int | None, container: str, output: str
) -> None:
    """Show the logs of all replicas of an API in one stream.

    If a replica has crashed, the logs of its last attempt are shown. `--container preflight` shows those of the
    Job that tries a new image. With --output json, each line is an object.

    \b
    Examples:
      gitops-ml logs iris-classifier --tail 100
      gitops-ml logs iris-classifier -e production --follow
    """
    workspace, clients = project.open()
    where = workspace.environments[0]
    if follows and tail is None:
        tail = 100
    read = follow if follows else logs
    for line in read(
        workspace, api, clients=clients, environment=where, container=container, tail=tail
    ):
        if output == "json":
            report.stream(printable_json(json.dumps(shaped("logs", line))))
        else:
            report.log_line(line.pod, line.text)
