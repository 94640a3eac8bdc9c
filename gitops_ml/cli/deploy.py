"""`gitops-ml deploy`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from gitops_ml.cli import facts, report
from gitops_ml.cli.changed import show_fields
from gitops_ml.cli.options import (
    dry_run_option,
    frozen_option,
    message_option,
    offline_option,
    output_option,
    pull_request_option,
    selection,
)
from gitops_ml.commands.deploy import Deployment, deploy
from gitops_ml.commands.wait import WaitPolicy, wait, wanted_by
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.workspace import wiring
from gitops_ml.workspace.workspace import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace

_MOST_SHOWN = 20
"""Releases whose fields are shown; `gitops-ml diff` has them all."""


@click.command("deploy")
@selection
@message_option
@pull_request_option
@click.option(
    "--prune", is_flag=True, help="Remove the releases of this project that left the manifests."
)
@click.option(
    "--by-tag",
    is_flag=True,
    help="Build nothing; where no digest is known, name the image by its content-hash tag instead of "
    "refusing.",
)
@click.option("--build/--no-build", default=True, help="Build images that the registry lacks.")
@frozen_option
@click.option(
    "--wait", "waits", is_flag=True, help="Wait until the releases are live, or cannot become so."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=1800,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@offline_option
@dry_run_option
@output_option
def command(
    paths: tuple[Path, ...],
    project_file: Path | None,
    environments: tuple[str, ...],
    apis: tuple[str, ...],
    message: str | None,
    pull_request: bool | None,
    prune: bool,
    by_tag: bool,
    build: bool,
    frozen: bool,
    waits: bool,
    timeout: float,
    offline: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Build, render, commit and push in one transaction, or open a pull request.

    Images are built with or without Docker, as image.builder of the project file says; the
    packages of those without are locked first where they are not.

    Nothing is forced: where somebody else was faster, the changes are rendered anew on top of
    theirs. Where nothing changes, nothing is committed. A pull request that is open already is
    brought up to date.

    \b
    Examples:
      gitops-ml deploy -e staging
      gitops-ml deploy -e production --api iris-classifier --dry-run
      gitops-ml deploy -e production --pull-request -m "A larger iris model"
    """
    workspace = open_project(paths, project_file=project_file, environments=environments, apis=apis)
    tools = wiring.tools(
        workspace.project, root=workspace.root, offline=offline, progress=report.progress
    )
    deployment = deploy(
        workspace,
        tools=tools,
        options=DeployOptions(
            message=message,
            prune=prune,
            by_tag=by_tag,
            build=build,
            frozen=frozen,
            dry_run=dry_run,
            pull_request=pull_request,
        ),
    )
    if not environments and len(workspace.environments) > 1:
        names = ", ".join(workspace.environments)
        report.say(f"no environment was named, so this is about {names}")
    _show(deployment, output)
    if waits and not dry_run:
        _wait(workspace, deployment, tools, timeout)


def _wait(workspace: Workspace, deployment: Deployment, tools: Clients, timeout: float) -> None:
    """Each news is a line, also in the log of a CI job: somebody waits."""
    wait(
        workspace,
        wanted_by(workspace, deployment, tools=tools),
        tools=replace(tools, progress=report.say),
        proposed=deployment.pull_request,
        patience=WaitPolicy(timeout=timeout),
    )


def _show(deployment: Deployment, output: str) -> None:
    report.warnings(deployment.warnings)
    if output == "json":
        report.as_json(facts.deployment_facts(deployment))
        return
    for made in deployment.images:
        report.say(f"built {made.image} with {made.choice.builder}: {made.choice.reason}")
    if deployment.releases:
        report.table(
            ("environment", "api", "deployment id", "image"),
            [(r.environment, r.name, r.deployment_id, r.image) for r in deployment.releases],
        )
    for directory, fields in deployment.fields(_MOST_SHOWN):
        _, environment, api = directory.split("/")
        show_fields(f"{api}: what changes in {environment}", fields)
    for directory in deployment.removed:
        report.echo(f"{'would remove' if deployment.dry_run else 'removed'} {directory}")
    report.echo(deployment.summary())
