"""Past deployments as JSON for machines and in short for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_ml.commands.history import History
    from gitops_ml.gitops.differences import FieldChange
    from gitops_ml.gitops.release_history import Entry, FoundDeployment

_MOST_FIELDS = 3


def history_facts(found: History) -> Mapping[str, Any]:
    return {
        "deployments": [entry_facts(entry) for entry in found.entries],
        "warnings": list(found.warnings),
    }


def entry_facts(entry: Entry) -> Mapping[str, Any]:
    return {
        "api": entry.api,
        "environment": entry.environment,
        "deployment_id": entry.deployment_id,
        "action": entry.action,
        "when": entry.when,
        "author": entry.author,
        "commit": entry.commit,
        "pull_request": entry.pull_request,
        "image": str(entry.image) if entry.image else None,
        "chart": entry.chart,
        "is_current": entry.is_current,
        "changes": [field_facts(change) for change in entry.changes],
    }


def field_facts(change: FieldChange) -> Mapping[str, Any]:
    return {
        "path": change.path,
        "action": change.action,
        "before": change.before,
        "after": change.after,
    }


def trace_facts(found: FoundDeployment) -> Mapping[str, Any]:
    release = found.release
    return {
        "deployment_id": found.deployment_id,
        "api": release.api,
        "environment": release.environment,
        "team": release.team,
        "namespace": release.namespace,
        "server": release.server,
        "project": release.project,
        "image": str(release.image),
        "digest": release.image.digest,
        "content_hash": release.content_hash,
        "chart": f"{release.chart}-{release.chart_version}",
        "commit": found.commit,
        "when": found.when,
        "author": found.author,
        "pull_request": found.pull_request,
        "is_current": found.is_current,
        "source": dict(release.provenance),
        "deployments": [entry_facts(entry) for entry in found.entries],
        "manifest_file": release.manifest_file,
        "manifest": dict(release.manifest),
    }


def trace_lines(found: FoundDeployment) -> Iterator[tuple[str, str]]:
    """Names and values for people, the manifest apart."""
    release, source = found.release, found.release.provenance
    yield "deployment id", found.deployment_id
    yield "API", release.api
    yield (
        "environment",
        f"{release.environment} (namespace {release.namespace}, team {release.team})",
    )
    yield "state", _state(found)
    yield "commit", f"{found.commit} ({time_for_people(found.when)})"
    yield "author", found.author
    if found.pull_request:
        yield "pull request", f"#{found.pull_request}"
    yield "image", str(release.image)
    if release.content_hash:
        yield "content hash", release.content_hash
    yield "chart", f"{release.chart} {release.chart_version}"
    yield "source", _source(source)
    if source.get("author"):
        yield "source author", str(source["author"])
    derived = source.get("derived_from")
    if isinstance(derived, dict):
        where = f" in {derived['environment']}" if derived.get("environment") else ""
        yield "came by", f"{derived.get('by')} from {derived.get('deployment_id')}{where}"
    yield "manifest file", release.manifest_file


def _state(found: FoundDeployment) -> str:
    if found.is_current:
        return "current"
    if not found.entries:
        return "never on the branch: replaced within its pull request"
    return "not there any more"


def _source(source: Mapping[str, Any]) -> str:
    if not source.get("commit"):
        return "unknown: it was not deployed from a Git repository"
    dirty = " with changes that no commit holds" if source.get("dirty") else ""
    return (
        f"{source['commit']} of {source.get('repository') or 'a repository without remote'}{dirty}"
    )


def time_for_people(when: str) -> str:
    """``2026-11-25 22:21 +01:00``; in the zone that it was written in."""
    try:
        return (
            datetime.fromisoformat(when).isoformat(sep=" ", timespec="minutes").replace("+", " +")
        )
    except ValueError:
        return "-"


def changes_in_short(changes: Iterable[FieldChange]) -> str:
    """The names of what changed; the image first, and no more than fit a line."""
    names = [_short_name(change.path) for change in changes]
    names = sorted(dict.fromkeys(names), key=lambda name: name != "image")
    more = len(names) - _MOST_FIELDS
    return ", ".join(names[:_MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _short_name(path: str) -> str:
    return "image" if path.startswith("image.") else path
