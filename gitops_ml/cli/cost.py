"""`gitops-ml cost`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import (
    ProjectChoice,
    complete_apis,
    environment_option,
    output_option,
    project_option,
)
from gitops_ml.commands.cost import PRICED, Costs, ReleaseCost, costs
from gitops_ml.facts.result_facts import costs_facts
from gitops_ml.release.monthly_cost import money


@click.command("cost")
@click.argument("api", required=False, shell_complete=complete_apis)
@project_option
@environment_option
@click.option(
    "--prometheus",
    metavar="URL",
    help="Where this machine reaches Prometheus, if not at the address in the project file.",
)
@output_option
def command(api: str | None, project: ProjectChoice, prometheus: str | None, output: str) -> None:
    """Show what releases have cost, how much was idle, and what would cost less.

    Replicas and requests of the last week come from the cluster's Prometheus. All of it is priced as of
    now: with the requests of the manifests and the prices of the project file.

    \b
    Examples:
      gitops-ml cost -e production
      gitops-ml cost iris-classifier --prometheus http://localhost:9090
    """
    workspace, clients = project.open_with_manifests(offline=True)
    now = datetime.now(timezone.utc)
    found = costs(workspace, clients=clients, now=now, api=api, address=prometheus)
    report.warnings(found.warnings)
    report.result(found, output, facts=costs_facts, show=lambda found: _show(found, api))
    if found.missing:
        report.warnings([f"no prices: set {', '.join(found.missing)} in the project file"])


def _show(found: Costs, api: str | None) -> None:
    head = ("environment", "api", "last day", "last week", "per month", "idle", "replica hours")
    rows = [*map(_row, found.releases)]
    if len(found.releases) > 1:
        rows += _totals(found)
    report.table(head, rows, less=("last day", "replica hours"))
    if found.totals():
        report.hanging("", PRICED, below=2)
    for release in found.releases:
        for line in release.savings()[: None if api else 1]:
            report.hanging("", line, below=2)


def _row(release: ReleaseCost) -> tuple[str, ...]:
    each = release.spending
    if each is None:
        return (release.environment, release.api, "-", "-", "-", "-", "nothing recorded")
    amounts = (_amount(value, each.currency) for value in (each.day, each.week, each.month))
    idle = "-" if each.idle is None else f"{each.idle:.0%}"
    hours = f"{each.replica_hours:,.0f}"
    return (release.environment, release.api, *amounts, idle, hours)


def _amount(value: float | None, currency: str | None) -> str:
    return "-" if value is None or currency is None else money(value, currency)


def _totals(found: Costs) -> Iterator[tuple[str, ...]]:
    for currency, amounts in found.totals().items():
        yield ("", "all", *(money(each, currency) for each in amounts), "", "")
