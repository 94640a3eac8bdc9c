"""`gitops-ml deploy`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.changed import show_fields, wait_for
from gitops_ml.cli.options import (
    ProjectChoice,
    dry_run_option,
    force_option,
    frozen_option,
    joined,
    message_option,
    offline_option,
    output_option,
    pull_request_option,
    selection,
    wait_options,
)
from gitops_ml.cli.report import brief, short_id, short_image
from gitops_ml.commands.deploy import Deployment, deploy
from gitops_ml.delivery.change import ChangeContext
from gitops_ml.delivery.plan import DeployOptions
from gitops_ml.facts.result_facts import deployment_facts
from gitops_ml.gitops.changed_releases import NO_RESTART

_MOST_SHOWN = 20
"""Releases whose fields are shown; `gitops-ml diff` shows all."""


@click.command("deploy")
@selection
@message_option
@pull_request_option
@click.option(
    "--prune",
    is_flag=True,
    help="Remove releases of this project that are no longer in the manifests.",
)
@click.option(
    "--by-tag",
    is_flag=True,
    help="Do not build; if the digest of an image is not known, deploy it by its content-hash tag.",
)
@click.option(
    "-y",
    "--yes",
    is_flag=True,
    expose_value=False,
    help="As in Cortex; not needed, because `deploy` asks nothing.",
)
@force_option
@click.option("--build/--no-build", default=True, help="Build images that are not in the registry.")
@frozen_option
@click.option(
    "--allow-dirty",
    is_flag=True,
    envvar="GITOPS_ML_ALLOW_DIRTY",
    help="Deploy files that no commit holds to a protected environment, too.",
)
@wait_options
@offline_option
@dry_run_option
@output_option
@joined("options", make=DeployOptions)
def command(project: ProjectChoice, options: DeployOptions, offline: bool, output: str) -> None:
    """Build, render, commit and push in one transaction, or open a pull request.

    image.builder of the project file chooses whether images are built with Docker. For images that
    are built without it, packages are locked first if the lock is missing or out of date.

    Without --environment, protected environments are left out. Uncommitted files are reported before
    anything is built; for a protected environment they are refused.

    Nothing is force-pushed: if the branch moved, the changes are rendered again on top of it. If
    nothing changes, nothing is committed. An open pull request for the same releases is updated.

    \b
    Examples:
      gitops-ml deploy -e staging
      gitops-ml deploy -e production --api iris-classifier --dry-run
      gitops-ml deploy -e production --pull-request -m "A larger iris model"
    """
    workspace, clients = project.open_with_manifests(
        offline=offline, may_be_empty=options.prune, spares_protected=True
    )
    project.report_environments(workspace, "deploying to")
    deployment = deploy(workspace, clients=clients, options=options)
    report.warnings(deployment.warnings)
    report.result(deployment, output, facts=deployment_facts, show=_show)
    if options.waits:
        from gitops_ml.commands.wait import wanted_by

        wanted = wanted_by(workspace, deployment, clients=clients)
        context = ChangeContext(workspace, clients, options)
        wait_for(context, wanted, proposed=deployment.pull_request)


def _show(deployment: Deployment) -> None:
    for made in deployment.images:
        report.say(f"built {brief(made.image)} with {made.choice.builder}: {made.choice.reason}")
    if deployment.releases:
        report.table(
            ("environment", "api", "pods", "deployment id", "image"),
            [
                (
                    r.environment,
                    r.name,
                    deployment.pods.get(r.directory, NO_RESTART),
                    short_id(r.deployment_id, r.name),
                    short_image(r.image),
                )
                for r in deployment.releases
            ],
            less=("image", "deployment id"),
        )
    for directory, fields in deployment.fields(_MOST_SHOWN):
        _, environment, api = directory.split("/")
        show_fields(f"{api}: what changes in {environment}", fields)
    for directory in deployment.removed:
        report.echo(f"{'would remove' if deployment.dry_run else 'removed'} {directory}")
    report.echo(deployment.summary())
