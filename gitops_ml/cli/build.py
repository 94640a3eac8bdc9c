"""`gitops-ml build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import dry_run_option, frozen_option, selection
from gitops_ml.commands.build import BuildOptions, build
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAYOUT = "oci-layout"
_WORDS = ("text", "json", "docker", f"{_LAYOUT}=DIR")


class _Command(click.Command):
    """Takes ``--output oci-layout DIR`` for ``--output oci-layout=DIR``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        waiting = iter(args)
        for word in waiting:
            is_value = word == _LAYOUT and words[-1:] in (["-o"], ["--output"])
            if is_value or word == f"--output={_LAYOUT}":
                word = f"{word}={next(waiting, '')}"
            words.append(word)
        return super().parse_args(ctx, words)


class _Output(click.ParamType):  # type: ignore[type-arg]  # older clicks take no arguments
    """Where images go, or how the result is told."""

    name = "output"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        word, _, folder = str(value).partition("=")
        if word == "github":  # what a CI job wants of commands that check documents
            return "text"
        if (word == _LAYOUT) != bool(folder) or word not in ("text", "json", "docker", _LAYOUT):
            self.fail(f"{value!r} is none of {', '.join(_WORDS)}", param, ctx)
        return Path(folder) if folder else word

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(_WORDS)}]"


def _remember(context: click.Context, _: click.Parameter, value: Sequence[Any]) -> Sequence[Any]:
    context.ensure_object(dict)["output"] = "json" if "json" in value else "text"
    return value


@click.command("build", cls=_Command)
@selection
@click.option("--push/--no-push", default=True, help="Push to the registry, or keep it local.")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=_Output(),
    multiple=True,
    envvar="GITOPS_ML_OUTPUT",
    callback=_remember,
    is_eager=True,
    help="docker loads the images into the local engine and oci-layout writes them to a folder, in "
    "place of a push. text (the default) and json are how the result is told. May be given twice.",
)
@frozen_option
@dry_run_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    push: bool,
    outputs: tuple[str | Path, ...],
    frozen: bool,
    dry_run: bool,
) -> None:
    """Build and push the images that are not in the registry yet.

    An image is named by the hash of everything that enters it. What the registry has already is
    not built again. No engine is needed, unless a script, conda or source code among the
    requirements want a container (image.builder of the project file chooses).

    \b
    Examples:
      gitops-ml build
      gitops-ml build --api iris-classifier --output docker
      gitops-ml build --output oci-layout=images --output json
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    layout = next((each for each in outputs if isinstance(each, Path)), None)
    load = "docker" in outputs
    builds = build(
        workspace,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
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
        report.echo("no API here has an image of its own to build")
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
