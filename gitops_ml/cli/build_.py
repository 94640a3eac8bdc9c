"""`gitops-ml build`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml import wiring
from gitops_ml.actions.documents import open_project
from gitops_ml.actions.images import build
from gitops_ml.cli import facts, report
from gitops_ml.cli.options import dry_run_option, output_option, selection

if TYPE_CHECKING:
    from pathlib import Path


@click.command("build")
@selection
@click.option("--push/--no-push", default=True, help="Push to the registry, or keep it local.")
@dry_run_option
@output_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    push: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Build and push the images that are not in the registry yet.

    An image is named by the hash of everything that enters it. What the registry has already is
    not built again; not even the Docker engine is asked.

    \b
    Examples:
      gitops-ml build
      gitops-ml build --api iris-classifier --no-push
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    built = build(
        workspace,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
        push=push,
        dry_run=dry_run,
    )
    if output == "json":
        report.as_json([facts.image_facts(item) for item in built])
        return
    if not built:
        click.echo("no API here has an image of its own to build")
        return
    report.table(
        ("api", "image", "digest", "state"),
        [(", ".join(i.apis), i.image, i.digest or "-", i.state) for i in built],
    )
