"""`gitops-ml model push` and `gitops-ml model pull`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import output_option
from gitops_ml.commands.model import pull_model, push_model
from gitops_ml.workspace import wiring

insecure_option = click.option(
    "--insecure", is_flag=True, help="Speak plain HTTP also to a registry on another machine."
)
location_argument = click.argument("location", metavar="oci://REGISTRY/REPOSITORY[:TAG]")


@click.group("model")
def command() -> None:
    """Store weights as artifacts of their own, apart from the image with the code.

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

    What the registry has already is not sent again, and nothing is copied on the way. The tag may
    move to other files later; the digest that is printed always means these.

    \b
    Example:
      gitops-ml model push ./model oci://ghcr.io/acme/models/iris:3
    and in api.yaml
      predictor: {type: onnx, models: {path: "oci://ghcr.io/acme/models/iris:3@sha256:…"}}
    """
    store = wiring.model_store(insecure=insecure)
    pushed = push_model(directory, location, store=store, progress=report.progress)
    if output == "json":
        report.as_json(facts.pushed_model_facts(pushed))
        return
    if pushed.moved_from:
        report.say(f"the tag {pushed.image.tag} moved; it was at {pushed.moved_from} before")
    plural = "" if pushed.files == 1 else "s"
    sent = f"{_amount(pushed.bytes_sent)} sent" if pushed.bytes_sent else "all of it was there"
    report.say(f"{pushed.files} file{plural}, {_amount(pushed.size)}, {sent}")
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
    store = wiring.model_store(insecure=insecure)
    pulled = pull_model(location, directory, store=store, progress=report.progress)
    if output == "json":
        report.as_json(facts.pulled_model_facts(pulled, directory))
        return
    plural = "" if pulled.files == 1 else "s"
    report.echo(f"{directory}: {pulled.files} file{plural}, {_amount(pulled.size)}")


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
