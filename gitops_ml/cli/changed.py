"""Commands that change current releases: the options they share, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

from gitops_ml.cli import report
from gitops_ml.cli.options import ProjectChoice, change_options, output_option, project_option
from gitops_ml.cli.report import short_id
from gitops_ml.delivery.awaited import Expected
from gitops_ml.delivery.change import ChangeContext, ChangeOptions, ChangeResult
from gitops_ml.facts.result_facts import changed_facts
from gitops_ml.forge.pull_request import PullRequest
from gitops_ml.gitops.differences import FieldChange


def change_command(command: Callable[..., ChangeResult]) -> Callable[..., None]:
    """``--project --message --pull-request --wait --timeout --dry-run --output``; the result is shown.

    The command gets a `ChangeContext` as its first argument.
    """

    @project_option
    @change_options
    @output_option
    @wraps(command)
    def call(project: ProjectChoice, options: ChangeOptions, output: str, **others: Any) -> None:
        context = ChangeContext(*project.open(), options)
        changed = command(context, **others)
        report.warnings(changed.warnings)
        report.result(changed, output, facts=changed_facts, show=_show)
        if options.waits:
            from gitops_ml.commands.wait import wanted_by_change

            wait_for(context, wanted_by_change(changed), proposed=changed.pull_request)

    return call


def wait_for(
    context: ChangeContext, wanted: Iterable[Expected], *, proposed: PullRequest | None
) -> None:
    """Report each change of state on a line, also where stderr is not a terminal, as in a CI job."""
    from gitops_ml.commands.wait import WaitPolicy, wait

    wait(
        context.workspace,
        wanted,
        clients=replace(context.clients, progress=report.say),
        proposed=proposed,
        patience=WaitPolicy(timeout=context.options.timeout),
    )


def _show(changed: ChangeResult) -> None:
    """The table of releases, what changes in each, and the commit."""
    if changed.releases:
        report.table(
            ("environment", "api", "pods", "deployment id", "before"),
            [
                (r.environment, r.api, r.pods, short_id(r.after, r.api), short_id(r.before, r.api))
                for r in changed.releases
            ],
            less=("before", "deployment id"),
        )
    for release in changed.releases:
        show_fields(f"{release.api}: what changes in {release.environment}", release.fields)
        show_fields(f"{release.api}: what else differs", release.differs)
    report.echo(changed.summary())


def show_fields(title: str, fields: Iterable[FieldChange]) -> None:
    """Fields before and after, below a title; nothing if there are none."""
    fields = tuple(fields)
    if fields:
        report.echo(title)
        report.fields(fields)
