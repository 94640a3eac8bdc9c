"""`gitops-ml build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import dry_run_option, frozen_option, selection
from gitops_ml.commands.build import BuildOptions, build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_ml.cli.options import ProjectChoice

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
    project: ProjectChoice,
    push: bool,
    outputs: tuple[str | Path, ...],
    frozen: bool,
    dry_run: bool,
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
    layout = next((each for each in outputs if isinstance(each, Path)), None)
    load = "docker" in outputs
    builds = build(
        workspace,
        tools=clients,
        options=BuildOptions(
            push=push and not (layout or load),
            layout=layout,
            load=load,
            frozen=frozen,
            dry_run=dry_run,
        ),
    )
    report.warnings(builds.warnings)
    if "json" in outputs:
        report.as_json([facts.image_facts(item) for item in builds.images])
        return
    if not builds.images:
        report.echo("no API of this project has an image to build")
        return
    report.table(
        ("api", "image", "digest", "state", "builder"),
        [
            (", ".join(i.apis), i.image, i.digest or "-", i.state, i.choice.builder)
            for i in builds.images
        ],
    )
    for reason, builder in dict.fromkeys(
        (i.choice.reason, i.choice.builder) for i in builds.images
    ):
        report.say(f"{builder}: {reason}")
