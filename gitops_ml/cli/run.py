"""`gitops-ml run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import paths_argument, project_option
from gitops_ml.commands.run import run
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from pathlib import Path


@click.command("run")
@paths_argument
@project_option
@click.option(
    "-a",
    "--api",
    metavar="NAME",
    envvar="GITOPS_ML_API",
    help="Which API, where the manifests have several.",
)
@click.option(
    "-e",
    "--environment",
    metavar="NAME",
    envvar="GITOPS_ML_ENVIRONMENT",
    help="As in this environment; otherwise the first.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 is a free one.",
)
@click.option("--reload", "reloads", is_flag=True, help="Start anew when a Python file changes.")
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    api: str | None,
    environment: str | None,
    host: str,
    port: int,
    reloads: bool,
) -> None:
    """Serve a predictor on this machine, with the runtime and the settings of the image.

    \b
    Example:
      gitops-ml run &
      curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -d @sample.json
    """
    workspace = open_project(
        paths,
        project_file=project_file,
        environments=(environment,) if environment else (),
        apis=(api,) if api else (),
    )
    run(
        workspace,
        host=host,
        port=port,
        reloads=reloads,
        tools=wiring.tools(workspace.project, root=workspace.root),
        progress=report.say,
    )
