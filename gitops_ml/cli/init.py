"""`gitops-ml init`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option
from gitops_ml.commands.init import init


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--name", help="The name of the API. By default, that of the folder.")
@click.option(
    "--image-repository",
    default="ghcr.io/acme/ml",
    show_default=True,
    help="Where images are pushed.",
)
@click.option(
    "--gitops-repository",
    default="https://github.com/acme/gitops.git",
    show_default=True,
    help="The repository that Argo CD syncs.",
)
@output_option
def command(
    directory: Path, name: str | None, image_repository: str, gitops_repository: str, output: str
) -> None:
    """Create a project in DIRECTORY: a manifest, a predictor and the project file.

    Existing files are kept.

    \b
    Example:
      gitops-ml init iris && cd iris && gitops-ml validate
    """
    made = init(
        directory, name=name, image_repository=image_repository, gitops_repository=gitops_repository
    )
    if output == "json":
        report.as_json({"written": list(made.written), "kept": list(made.kept)})
        return
    for path in made.written:
        report.echo(f"wrote {path}")
    for path in made.kept:
        report.echo(f"kept  {path}")
    report.say("\nnext: gitops-ml validate, gitops-ml run, and `gitops-ml diff` to see a release")
