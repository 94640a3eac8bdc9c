"""`gitops-ml validate`."""

from __future__ import annotations

from dataclasses import asdict

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, output_choice, selection
from gitops_ml.commands.validate import validate
from gitops_ml.documents.findings import count_of
from gitops_ml.errors import InvalidDocument
from gitops_ml.facts.shapes import shaped
from gitops_ml.workspace.workspace import Workspace


@click.command("validate")
@selection
@output_choice(
    "text", "json", "github", help="Text, JSON, or GitHub annotations in the pull request."
)
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
def command(project: ProjectChoice, output: str, strict: bool) -> None:
    """Check manifests and the project file; report every error of every file with its place.

    PATH is a manifest, or a folder that is searched for manifests. By default, the current folder.

    \b
    Examples:
      gitops-ml validate
      gitops-ml validate apis/ --output github
    """
    workspaces = validate(
        project.paths,
        project_file=project.file,
        environments=project.environments,
        apis=project.apis,
    )
    errors = sorted({p for each in workspaces for p in each.problems.errors})
    warnings = sorted({p for each in workspaces for p in each.problems.warnings})
    is_valid = not errors and not (strict and warnings)
    if output == "json":
        facts = {
            "valid": is_valid,
            "files": [file for each in workspaces for file in each.files],
            "apis": [manifest.name for each in workspaces for manifest in each.manifests],
            "problems": list(map(asdict, [*errors, *warnings])),
        }
        report.as_json(shaped("validate", **facts))
    elif output == "github":
        for problem in (*errors, *warnings):
            report.annotate(problem)
    else:
        report.problems([*errors, *warnings], err=False)
        report.echo(
            f"{'valid' if is_valid else 'invalid'}: {_contents(workspaces)}; "
            f"{count_of(len(errors), 'error')}, {count_of(len(warnings), 'warning')}"
        )
    if not is_valid:
        raise click.exceptions.Exit(InvalidDocument.exit_code)


def _contents(workspaces: tuple[Workspace, ...]) -> str:
    counts = [
        count_of(sum(len(each.files) for each in workspaces), "file"),
        count_of(sum(len(each.manifests) for each in workspaces), "API"),
        count_of(len({name for each in workspaces for name in each.environments}), "environment"),
    ]
    if len(workspaces) > 1:
        counts.insert(0, count_of(len(workspaces), "project"))
    return ", ".join(counts)
