"""`gitops-ml validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitops_ml import actions
from gitops_ml.cli import report
from gitops_ml.cli.options import output_choice, selection
from gitops_ml.errors import InvalidDocument

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.workspace import Workspace


@click.command("validate")
@selection
@output_choice(
    "text",
    "json",
    "github",
    help="Text, JSON, or GitHub annotations that show up in the pull request.",
)
@click.option("--strict", is_flag=True, help="Warnings are errors too.")
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    output: str,
    strict: bool,
) -> None:
    """Check manifests and the project file; report every error of every file with its place.

    PATH is a manifest or a folder that is searched for them; without one, the current folder.

    \b
    Examples:
      gitops-ml validate
      gitops-ml validate apis/ --output github
    """
    workspace = actions.validate(
        paths, project_file=project_file, environments=environments, apis=apis
    )
    problems = workspace.problems
    found = (*problems.errors, *problems.warnings)
    is_valid = not problems.errors and not (strict and problems.warnings)
    if output == "json":
        report.as_json(
            {
                "valid": is_valid,
                "files": list(workspace.files),
                "apis": [manifest.name for manifest in workspace.manifests],
                "problems": [report.problem_facts(problem) for problem in found],
            }
        )
    elif output == "github":
        for problem in found:
            click.echo(report.annotation(problem))
    else:
        report.problems(found, err=False)
        click.echo(_summary(workspace, is_valid=is_valid))
    if not is_valid:
        raise click.exceptions.Exit(InvalidDocument.exit_code)


def _summary(workspace: Workspace, *, is_valid: bool) -> str:
    problems = workspace.problems
    counts = [
        _count(len(workspace.files), "file"),
        _count(len(workspace.manifests), "API"),
        _count(len({r.spec.environment for r in workspace.releases}), "environment"),
    ]
    findings = [_count(len(problems.errors), "error"), _count(len(problems.warnings), "warning")]
    return f"{'valid' if is_valid else 'invalid'}: {', '.join(counts)}; {', '.join(findings)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
