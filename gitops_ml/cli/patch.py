"""`gitops-ml patch`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitops_ml.cli import changed, report
from gitops_ml.cli.options import landing, one_environment_option, output_option, project_option
from gitops_ml.commands.patch import patch
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.manifest.merge_patch import laid_together, setting, snippet
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_settings


@click.command("patch")
@click.argument("api")
@click.argument(
    "file",
    required=False,
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
)
@one_environment_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="One field; `null` takes it back.",
)
@project_option
@landing
@output_option
def command(
    api: str,
    file: Path | None,
    environment: str,
    settings: tuple[str, ...],
    project_file: Path | None,
    message: str | None,
    pull_request: bool | None,
    dry_run: bool,
    output: str,
) -> None:
    """Change the configuration of a release that stands; its image stays as it is.

    FILE holds those fields of the manifest that should change, as YAML or JSON; - is the standard
    input. Every rule is checked. Write the change into api.yaml as well, or the next deploy takes it
    back.

    \b
    Examples:
      gitops-ml patch iris-classifier -e staging --set autoscaling.max_replicas=7
      gitops-ml patch iris-classifier -e staging changes.yaml
    """
    workspace = open_settings(project_file, environments=[environment])
    said = [snippet(_read(file), file=str(file), api=api)] if file else []
    words = laid_together(*said, *map(setting, settings))
    done = patch(
        workspace,
        api,
        words,
        environment=environment,
        tools=wiring.tools(workspace.project, root=workspace.root, progress=report.progress),
        options=ChangeOptions(message=message, dry_run=dry_run, pull_request=pull_request),
    )
    changed.show(done, output=output)


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
