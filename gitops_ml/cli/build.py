"""`gitops-ml build`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, dry_run_option, frozen_option, selection
from gitops_ml.cli.report import short_digest, short_image
from gitops_ml.commands.build import BuildOptions, Built, build
from gitops_ml.facts.result_facts import builds_facts

_LAYOUT = "oci-layout"
_OUTPUTS = ("text", "json", "docker", f"{_LAYOUT}=DIR")


class _Command(click.Command):
    """Accept ``--output oci-layout DIR`` for ``--output oci-layout=DIR``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        joined: list[str] = []
        remaining = iter(args)
        for arg in remaining:
            is_value = arg == _LAYOUT and joined[-1:] in (["-o"], ["--output"])
            if is_value or arg == f"--output={_LAYOUT}":
                arg = f"{arg}={next(remaining, '')}"
            joined.append(arg)
        return super().parse_args(ctx, joined)


class _Output(click.ParamType):  # type: ignore[type-arg]  # older clicks take no arguments
    """Where images go, or the format of the result."""

    name = "output"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        output, _, folder = str(value).partition("=")
        if output == "github":  # GITOPS_ML_OUTPUT of a CI job, for commands that check documents
            return "text"
        if (output == _LAYOUT) != bool(folder) or output not in ("text", "json", "docker", _LAYOUT):
            self.fail(f"{value!r} is not one of {', '.join(_OUTPUTS)}", param, ctx)
        return Path(folder) if folder else output

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(_OUTPUTS)}]"


def _remember(context: click.Context, _: click.Parameter, value: Sequence[Any]) -> Sequence[Any]:
    context.ensure_object(dict)["output"] = "json" if "json" in value else "text"
    return value


@click.command("build", cls=_Command)
@selection
@click.option("--push/--no-push", default=True, help="Push to the registry, or keep images local.")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=_Output(),
    multiple=True,
    envvar="GITOPS_ML_OUTPUT",
    callback=_remember,
    is_eager=True,
    help="docker loads the images into the local engine and oci-layout writes them to a folder, "
    "instead of a push. text (the default) and json are formats of the result. Can be given twice.",
)
@frozen_option
@dry_run_option
def command(
    project: ProjectChoice, outputs: tuple[str | Path, ...], push: bool, frozen: bool, dry_run: bool
) -> None:
    """Build and push the images that are not in the registry yet.

    The tag of an image is the hash of its inputs; an image that the registry has is not built
    again. A container engine is needed only for a dependencies.sh, conda packages or requirements
    without a wheel (image.builder of the project file chooses).

    \b
    Examples:
      gitops-ml build
      gitops-ml build --api iris-classifier --output docker
      gitops-ml build --output oci-layout=images --output json
    """
    workspace, clients = project.open_with_manifests()
    options = _options(outputs, push=push, frozen=frozen, dry_run=dry_run)
    builds = build(workspace, clients=clients, options=options)
    report.warnings(builds.warnings)
    if "json" in outputs:
        report.as_json(builds_facts(builds))
    else:
        _show(builds.images)


def _options(outputs: tuple[str | Path, ...], *, push: bool, **others: bool) -> BuildOptions:
    layout = next((each for each in outputs if isinstance(each, Path)), None)
    load = "docker" in outputs
    return BuildOptions(push=push and not (layout or load), layout=layout, load=load, **others)


def _show(images: Sequence[Built]) -> None:
    if not images:
        report.echo("no API of this project has an image to build")
        return
    report.table(
        ("api", "image", "digest", "state", "builder"),
        [
            (
                ", ".join(i.apis),
                short_image(i.image),
                short_digest(i.digest or "-"),
                i.state,
                i.choice.builder,
            )
            for i in images
        ],
    )
    for choice in dict.fromkeys(item.choice for item in images):
        report.say(f"{choice.builder}: {choice.reason}")
