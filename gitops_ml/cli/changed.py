"""Results of the verbs that change current releases, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml.cli import report
from gitops_ml.cli.facts import change_facts, pull_request_facts
from gitops_ml.commands.history_facts import field_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.delivery.change import ChangeResult, ReleaseChange
    from gitops_ml.gitops.differences import FieldChange


def show(changed: ChangeResult, *, output: str) -> None:
    """The table of releases, what changes in each, and the commit."""
    report.warnings(changed.warnings)
    if output == "json":
        report.as_json(changed_facts(changed))
        return
    if changed.releases:
        report.table(
            ("environment", "api", "deployment id", "before"),
            [(r.environment, r.api, r.after or "-", r.before or "-") for r in changed.releases],
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


def changed_facts(changed: ChangeResult) -> Mapping[str, Any]:
    return {
        "action": changed.action,
        "commit": changed.commit,
        "dry_run": changed.dry_run,
        "pull_request": pull_request_facts(changed.pull_request),
        "releases": [release_change_facts(release) for release in changed.releases],
        "changes": change_facts(changed.changes),
        "warnings": list(changed.warnings),
    }


def release_change_facts(release: ReleaseChange) -> Mapping[str, Any]:
    return {
        "api": release.api,
        "environment": release.environment,
        "before": release.before,
        "deployment_id": release.after,
        "image": str(release.image) if release.image else None,
        "fields": [field_facts(field) for field in release.fields],
        "differs": [field_facts(field) for field in release.differs],
    }
