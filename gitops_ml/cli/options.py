"""The options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def output_choice(*choices: str, help: str) -> Callable[[Command], Command]:
    """``--output`` with these choices; whoever shows an error knows what was asked for."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        envvar="GITOPS_ML_OUTPUT",
        help=help,
        callback=_remember,
        is_eager=True,
        cls=_Output,
    )


class _Output(click.Option):
    """A CI job says once that it wants annotations; commands that have none speak text."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        assert isinstance(self.type, click.Choice)
        return None if value == "github" and value not in self.type.choices else value


def _remember(context: click.Context, _: click.Parameter, value: str) -> str:
    context.ensure_object(dict)["output"] = value
    return value


output_option = output_choice("text", "json", help="Text for people, or the same facts as JSON.")

project_option = click.option(
    "--project",
    "project_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="GITOPS_ML_PROJECT",
    help="The project file; otherwise gitops-ml.yaml is looked for from the first PATH upwards.",
)

environment_option = click.option(
    "-e",
    "--environment",
    "environments",
    multiple=True,
    metavar="NAME",
    envvar="GITOPS_ML_ENVIRONMENT",
    help="An environment of the project file; may be given several times.",
)

api_option = click.option(
    "-a",
    "--api",
    "apis",
    multiple=True,
    metavar="NAME",
    envvar="GITOPS_ML_API",
    help="Only this API; may be given several times.",
)

dry_run_option = click.option(
    "-n",
    "--dry-run",
    is_flag=True,
    envvar="GITOPS_ML_DRY_RUN",
    help="Do everything but the last act.",
)

offline_option = click.option(
    "--offline",
    is_flag=True,
    envvar="GITOPS_ML_OFFLINE",
    help="Ask no registry and build nothing: digests are those that are known without.",
)

pull_request_option = click.option(
    "--pull-request/--no-pull-request",
    "pull_request",
    default=None,
    envvar="GITOPS_ML_PULL_REQUEST",
    help="Open a pull request, or push; otherwise what `delivery` of the environments says.",
)

frozen_option = click.option(
    "--frozen",
    is_flag=True,
    envvar="GITOPS_ML_FROZEN",
    help="Resolve nothing: a lock that is missing or not up to date is an error, as in CI.",
)

first_environment_option = click.option(
    "-e",
    "--environment",
    metavar="NAME",
    envvar="GITOPS_ML_ENVIRONMENT",
    help="An environment of the project file; otherwise its first.",
)

image_argument = click.argument("image")

platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="Of an index of several; otherwise its first."
)

paths_argument = click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]..."
)


def selection(command: Command) -> Command:
    """``[PATH]… --project --environment --api``: which releases a command is about."""
    for decorate in (api_option, environment_option, project_option, paths_argument):
        command = decorate(command)
    return command


message_option = click.option(
    "-m",
    "--message",
    help="The commit's subject and the pull request's title; otherwise it names the releases.",
)


def landing(command: Command) -> Command:
    """``--message --pull-request/--no-pull-request --dry-run``: how a change gets to the branch."""
    for decorate in (dry_run_option, pull_request_option, message_option):
        command = decorate(command)
    return command


one_environment_option = click.option(
    "-e",
    "--environment",
    "environment",
    required=True,
    metavar="NAME",
    envvar="GITOPS_ML_ENVIRONMENT",
    help="The environment of the project file that it is about.",
)


def chosen_apis(command: Command) -> Command:
    """``[API]… --all --team --label``: which releases of an environment a command is about."""
    decorators = (
        click.option(
            "--label", "labels", multiple=True, metavar="KEY=VALUE",
            help="Only those with this label; several have to fit together.",
        ),
        click.option("--team", "teams", multiple=True, metavar="NAME", help="Only those of a team."),
        click.option("--all", "every", is_flag=True, help="Every API of the project."),
        click.argument("apis", nargs=-1, metavar="[API]..."),
    )  # fmt: skip
    for decorate in decorators:
        command = decorate(command)
    return command


def pairs(labels: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` as given on the command line."""
    found = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
        found[key] = value
    return found
