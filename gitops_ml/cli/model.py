"""`gitops-ml model push` and `gitops-ml model pull`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option
from gitops_ml.commands.model import pull_model, push_model
from gitops_ml.documents.findings import count_of
from gitops_ml.facts.shapes import shaped
from gitops_ml.workspace.clients import model_store

insecure_option = click.option(
    "--insecure", is_flag=True, help="Allow plain HTTP to a registry on another machine."
)
location_argument = click.argument("location", metavar="oci://REGISTRY/REPOSITORY[:TAG]")


@click.group("model")
def command() -> None:
    """Store model weights as artifacts in a registry, separate from the image with the code.

    \b
    Examples:
      gitops-ml model push ./model oci://ghcr.io/acme/models/iris:3
      gitops-ml model pull oci://ghcr.io/acme/models/iris:3 ./model
    """


@command.command("push")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@location_argument
@insecure_option
@output_option
def push(directory: Path, location: str, insecure: bool, output: str) -> None:
    """Push the files of a directory to a registry, and print the reference for the manifest.

    Files that the registry has are not sent again, and no temporary copies are made. The tag can move
    to other files later; the digest in the printed reference always names these files.

    \b
    Example:
      gitops-ml model push ./model oci://ghcr.io/acme/models/iris:3
    and in api.yaml
      predictor: {type: onnx, models: {path: "oci://ghcr.io/acme/models/iris:3@sha256:…"}}
    """
    store = model_store(insecure=insecure)
    pushed = push_model(directory, location, store=store, progress=report.progress)
    if output == "json":
        report.as_json(shaped("model push", pushed))
        return
    if pushed.moved_from:
        report.say(f"the tag {pushed.image.tag} moved from {pushed.moved_from}")
    sent = (
        f"{report.size(pushed.bytes_sent)} sent" if pushed.bytes_sent else "already in the registry"
    )
    report.say(f"{count_of(pushed.files, 'file')}, {report.size(pushed.size)}, {sent}")
    report.echo(pushed.location)


@command.command("pull")
@click.argument("location", metavar="oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@insecure_option
@output_option
def pull(location: str, directory: Path, insecure: bool, output: str) -> None:
    """Write the files of an artifact to a new directory.

    \b
    Example:
      gitops-ml model pull oci://ghcr.io/acme/models/iris:3 ./model
    """
    store = model_store(insecure=insecure)
    pulled = pull_model(location, directory, store=store, progress=report.progress)
    if output == "json":
        report.as_json(shaped("model pull", pulled, directory=str(directory)))
        return
    report.echo(f"{directory}: {count_of(pulled.files, 'file')}, {report.size(pulled.size)}")
