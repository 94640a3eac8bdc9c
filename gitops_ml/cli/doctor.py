"""`gitops-ml doctor`."""

from __future__ import annotations

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, environment_option, output_option, project_option
from gitops_ml.commands.doctor import SECONDS, Diagnosis, doctor
from gitops_ml.doctor.probes import FINDING, Check
from gitops_ml.documents.findings import count_of
from gitops_ml.facts.result_facts import diagnosis_facts

_COLOURS = {FINDING: "error", "skipped": "progress"}


@click.command("doctor")
@project_option
@environment_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=SECONDS,
    show_default=True,
    help="Seconds for each check; all of them run at the same time.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="SUBJECT",
    help="A subject whose findings do not count; repeatable.",
)
@output_option
def command(project: ProjectChoice, timeout: float, skip: tuple[str, ...], output: str) -> None:
    """Check what the project relies on, from here; each finding has its remedy.

    Documents, programs of this machine, registry, Git and forge, Argo CD, and each cluster: versions,
    kinds, rights, Prometheus, GPU nodes. Nothing is changed: the push is a dry run, and the upload to
    the registry is cancelled. Exits with 7 if there are findings.

    \b
    Examples:
      gitops-ml doctor
      gitops-ml doctor -e production --skip "Argo CD: webhook" --output json
    """
    workspace, clients = project.open_with_problems()
    found = doctor(workspace, clients=clients, seconds=timeout, skip=skip)
    report.result(found, output, facts=diagnosis_facts, show=_show)
    report.exit_if_different(bool(found.findings))


def _show(found: Diagnosis) -> None:
    for check in found.checks:
        _show_check(check)
    count = len(found.findings)
    report.echo(f"{count_of(len(found.checks), 'check')}, {count_of(count, 'finding')}")


def _show_check(check: Check) -> None:
    mark = report.styled(f"{check.outcome:<7}", _COLOURS.get(check.outcome, "add"))
    first, *rest = check.text.splitlines() or [""]
    report.hanging(f"{mark}  ", f"{check.subject}: {first}")
    for line in (*rest, *filter(None, [check.remedy])):
        report.hanging(" " * 9, line)
