"""`gitops-ml lock`."""

from __future__ import annotations

import os

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, output_option, selection
from gitops_ml.commands.lock import Locked, lock, reasons_for_none
from gitops_ml.facts.result_facts import locks_facts


@click.command("lock")
@selection
@click.option(
    "--upgrade",
    is_flag=True,
    help="Upgrade to the newest versions instead of keeping those of the lock.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 7 if a lock is out of date.")
@output_option
def command(project: ProjectChoice, upgrade: bool, check: bool, output: str) -> None:
    """Write the lock beside the requirements: the wheels of the images, with their hashes.

    The lock is for the Python and the platforms of the images, not for those of this machine. It is
    written only if the requirements have changed; commit it. `build` and `deploy` lock too when
    necessary; `--frozen` makes them fail instead.

    \b
    Examples:
      gitops-ml lock
      gitops-ml lock --upgrade --api iris-classifier
      gitops-ml lock --check
    """
    workspace, clients = project.open_with_manifests()
    locks = lock(workspace, clients=clients, upgrade=upgrade, check=check)
    if output == "json":
        report.as_json(locks_facts(locks))
    elif locks:
        _show(locks)
    else:
        report.echo("no API of this project has an image that is built without Docker")
        for api, reason in reasons_for_none(workspace, clients=clients).items():
            report.echo(f"  {api}: {reason}")
    report.exit_if_different(check and not all(item.is_up_to_date for item in locks))


def _show(locks: tuple[Locked, ...]) -> None:
    for item in locks:
        packages = f", {len(item.lock.packages)} packages" if item.lock else ""
        report.echo(f"{os.path.relpath(item.path)}: {item.state}{packages}")
        for change in item.changes:
            report.echo(f"  {change}")
