"""`gitops-ml doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, environment_option, output_option, project_option
from gitops_ml.commands.doctor import SECONDS, Diagnosis, doctor
from gitops_ml.doctor.outcome import FINDING, Check
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
    if output == "json":
        report.as_json(diagnosis_facts(found))
    else:
        for line in _lines(found):
            report.echo(line)
    report.exit_if_different(bool(found.findings))


def _lines(found: Diagnosis) -> Iterator[str]:
    for check in found.checks:
        yield from _check_lines(check)
    count = len(found.findings)
    yield f"{report.count(len(found.checks), 'check')}, {report.count(count, 'finding')}"


def _check_lines(check: Check) -> Iterator[str]:
    mark = report.styled(f"{check.outcome:<7}", _COLOURS.get(check.outcome, "add"))
    first, *rest = check.text.splitlines() or [""]
    yield f"{mark}  {check.subject}: {first}"
    yield from (f"         {line}" for line in rest)
    if check.remedy:
        yield f"         {check.remedy}"
