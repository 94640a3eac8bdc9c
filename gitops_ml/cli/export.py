"""`gitops-ml export`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    image_argument,
    output_option,
    platform_option,
    project_option,
)
from gitops_ml.commands.inspect import export
from gitops_ml.documents.findings import count_of
from gitops_ml.facts.shapes import shaped


@click.command("export")
@image_argument
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@platform_option
@project_option
@output_option
def command(
    image: str, directory: Path, platform: str | None, project: ProjectChoice, output: str
) -> None:
    """Write the code, the lock and the manifest of an image to a new DIRECTORY.

    IMAGE is a deployment id, an image, or oci:DIR[:TAG], an image in an OCI layout. No container
    engine is needed: only the layer with the project is downloaded, and its digest is checked.

    \b
    Examples:
      gitops-ml export iris-classifier-0123456789ab back
      gitops-ml export ghcr.io/acme/ml/iris-classifier:h-ed6b6f8bed41da573d4e back
    """
    workspace, clients = project.open()
    exported = export(workspace, image, directory, clients=clients, platform=platform)
    if output == "json":
        report.as_json(shaped("export", exported, directory=str(directory)))
        return
    report.echo(f"{count_of(len(exported.files), 'file')} written to {directory}")
    if exported.manifest is None and "api.yaml" not in exported.files:
        report.say("the manifest is not among them: it is not attached to the image")
