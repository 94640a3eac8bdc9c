"""`gitops-ml render`."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, offline_option, output_option, selection
from gitops_ml.commands.render import Rendering, render, write
from gitops_ml.facts.result_facts import rendering_facts
from gitops_ml.gitops.release_files import objects_text


@click.command("render")
@selection
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write into this folder. By default, print.",
)
@click.option("--manifests", is_flag=True, help="Render the Kubernetes objects with Helm.")
@offline_option
@output_option
def command(
    project: ProjectChoice, target: Path | None, manifests: bool, offline: bool, output: str
) -> None:
    """Render releases as `deploy` would write them to the GitOps repository.

    \b
    Examples:
      gitops-ml render                         # values and release.yaml, to the terminal
      gitops-ml render --to rendered/          # the whole repository, as files
      gitops-ml render -e staging --manifests  # the Kubernetes objects
    """
    workspace, clients = project.open_with_manifests(offline=offline)
    rendering = render(workspace, clients=clients, with_objects=manifests)
    report.warnings(rendering.warnings)
    if target is not None:
        written = write(rendering, target)
        report.say(f"{len(written)} of {len(rendering.files)} files written to {target}")
    if output == "json":
        report.as_json(rendering_facts(rendering))
    elif target is not None:
        report.table(
            ("environment", "api", "deployment id"),
            [(r.environment, r.name, r.deployment_id) for r in rendering.releases],
        )
    else:
        _print(rendering, manifests=manifests)


def _print(rendering: Rendering, *, manifests: bool) -> None:
    if manifests:
        for _release, objects in rendering.objects:
            report.stream(objects_text(objects).decode(), nl=False)
        return
    for file in rendering.files:
        if file.path.startswith("releases/"):
            report.stream(f"# {file.path}\n{file.content.decode()}")
