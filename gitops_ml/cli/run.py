"""`gitops-ml run`."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    complete_apis,
    first_environment_option,
    paths_argument,
    project_option,
)
from gitops_ml.commands.run import run


@click.command("run")
@paths_argument
@project_option
@click.option(
    "-a",
    "--api",
    metavar="NAME",
    envvar="GITOPS_ML_API",
    shell_complete=complete_apis,
    help="The API to serve, if the manifests have several.",
)
@first_environment_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 chooses a free port.",
)
@click.option("--reload", "reloads", is_flag=True, help="Restart when a Python file changes.")
def command(project: ProjectChoice, api: str | None, host: str, port: int, reloads: bool) -> None:
    """Serve a predictor on this machine, with the runtime and settings of its image.

    Its log is text on a terminal, and else JSON lines, as in a cluster.

    \b
    Example:
      gitops-ml run &
      curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -d @sample.json
    """
    chosen = replace(project, apis=(api,) if api else ())
    workspace, clients = chosen.open_with_manifests()
    clients = replace(clients, progress=report.say)
    show = report.echo if sys.stdout.isatty() else None
    run(workspace, host=host, port=port, reloads=reloads, clients=clients, show=show)
