"""`gitops-ml export`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import image_argument, output_option, platform_option, project_option
from gitops_ml.commands.inspect import export
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings


@click.command("export")
@image_argument
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@platform_option
@project_option
@output_option
def command(
    image: str, directory: Path, platform: str | None, project_file: Path | None, output: str
) -> None:
    """Bring the code, the lock and the manifest back out of an image, into a new DIRECTORY.

    IMAGE is a deployment id, an image, or oci:DIR[:TAG], an image in an OCI layout. No engine is
    needed: only the layer with the project is read, and checked while it is.

    \b
    Examples:
      gitops-ml export iris-classifier-0123456789ab back
      gitops-ml export ghcr.io/acme/ml/iris-classifier:h-ed6b6f8bed41da573d4e back
    """
    workspace = open_settings(project_file)
    tools = wiring.tools(workspace.project, root=workspace.root, progress=report.progress)
    exported = export(workspace, image, directory, tools=tools, platform=platform)
    if output == "json":
        report.as_json(
            {
                "directory": str(directory),
                "files": list(exported.files),
                "manifest": exported.manifest,
            }
        )
        return
    count = len(exported.files)
    report.echo(f"{count} file{'s' if count != 1 else ''} written to {directory}")
    if exported.manifest is None and "api.yaml" not in exported.files:
        report.say("the manifest is not among them: nobody attached it to the image")
