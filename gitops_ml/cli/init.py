"""`gitops-ml init`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from gitops_ml.cli import report
from gitops_ml.cli.options import output_option
from gitops_ml.commands.init import FILES, TOKEN_ENV, Scaffolded, init, not_applied, write_ci
from gitops_ml.errors import UsageError
from gitops_ml.facts.shapes import shaped
from gitops_ml.git.failures import EXAMPLE

_PROJECT = "gitops-ml.yaml"


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
    default=EXAMPLE,
    show_default=True,
    help="The repository that Argo CD syncs.",
)
@click.option(
    "--ci",
    "forge",
    type=click.Choice([*FILES]),
    help="Write the workflows of this forge as well: check, deploy, promote, drift.",
)
@click.option(
    "--branch",
    default="main",
    show_default=True,
    help="The branch whose changes the workflows deploy.",
)
@output_option
def command(
    directory: Path,
    name: str | None,
    image_repository: str,
    gitops_repository: str,
    forge: str | None,
    branch: str,
    output: str,
) -> None:
    """Create a project in DIRECTORY: a manifest, a predictor and the project file.

    Existing files are kept. With --ci, DIRECTORY is the root of the repository; a project that exists gets
    the workflows alone.

    \b
    Examples:
      gitops-ml init iris && cd iris && gitops-ml validate
      gitops-ml init --ci github
    """
    made = Scaffolded((), ())
    context = click.get_current_context()
    chosen = {
        "--name": name,
        "--image-repository": image_repository,
        "--gitops-repository": gitops_repository,
    }
    given = {
        option: str(value)
        for option, value in chosen.items()
        if context.get_parameter_source(option[2:].replace("-", "_")) is not ParameterSource.DEFAULT
    }
    if forge is None or not (directory / _PROJECT).exists():
        made = init(
            directory, name=name, image_repository=image_repository,
            gitops_repository=gitops_repository, token_env=TOKEN_ENV if forge else "",
        )  # fmt: skip
    left = not_applied(directory, given)
    if forge is not None:
        more = _workflows(directory, forge, branch)
        made = Scaffolded((*made.written, *more.written), (*made.kept, *more.kept))
        left += more.not_applied
    made = replace(made, not_applied=left)
    report.warnings(left)
    if output == "json":
        report.as_json(shaped("init", made))
        return
    for path in made.written:
        report.echo(f"wrote {path}")
    for path in made.kept:
        report.echo(f"kept  {path}")
    if forge is not None:
        report.say(
            "\nnext: store the secrets that the first lines of the workflows name, and commit them"
        )
        return
    report.say("\nnext: gitops-ml validate, gitops-ml run, gitops-ml render --offline")
    if gitops_repository == EXAMPLE:
        report.say(
            "then: set image.repository and gitops.repository in gitops-ml.yaml, and gitops-ml diff"
        )


def _workflows(directory: Path, forge: str, branch: str) -> Scaffolded:
    from gitops_ml.workspace.workspace import open_settings

    root = next((each for each in (directory.resolve(), *directory.resolve().parents)
                 if (each / ".git").exists()), None)  # fmt: skip
    if root is not None and root != directory.resolve():
        raise UsageError(
            f"workflows are at the root of a repository, which is {root}: run `gitops-ml init --ci` there"
        )
    project = open_settings(directory / _PROJECT).project
    gitops = project.gitops
    if gitops is not None and gitops.token_env is None and gitops.repository.startswith("http"):
        report.warnings(
            [f"add `token_env: {TOKEN_ENV}` to `gitops` in {_PROJECT}: jobs have the token there"]
        )
    return write_ci(directory, forge, project, branch=branch)
