"""`gitops-ml render`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.options import offline_option, output_option, selection
from gitops_ml.commands.render import render, write
from gitops_ml.gitops.release_files import objects_text
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project


@click.command("render")
@selection
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write into this folder; otherwise print.",
)
@click.option("--manifests", is_flag=True, help="The Kubernetes objects, as Helm renders them.")
@offline_option
@output_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    target: Path | None,
    manifests: bool,
    offline: bool,
    output: str,
) -> None:
    """Write what would be in the GitOps repository.

    \b
    Examples:
      gitops-ml render                         # values and release.yaml, to the terminal
      gitops-ml render --to rendered/          # the whole repository, as files
      gitops-ml render -e staging --manifests  # the Kubernetes objects
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    rendering = render(
        workspace,
        tools=wiring.tools(workspace.project, root=workspace.root, offline=offline),
        with_objects=manifests,
    )
    report.warnings(rendering.warnings)
    if target is not None:
        written = write(rendering, target)
        report.say(f"{len(written)} of {len(rendering.files)} files written to {target}")
    if output == "json":
        report.as_json(facts.rendering_facts(rendering))
    elif target is not None:
        report.table(
            ("environment", "api", "deployment id"),
            [(r.environment, r.name, r.deployment_id) for r in rendering.releases],
        )
    elif manifests:
        for _release, objects in rendering.objects:
            report.stream(objects_text(objects).decode(), nl=False)
    else:
        for file in rendering.files:
            if file.path.startswith("releases/"):
                report.stream(f"# {file.path}\n{file.content.decode()}")
