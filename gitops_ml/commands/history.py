"""List deployments and trace deployment ids, from the history of the GitOps repository."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gitops_ml.delivery.releases import current_releases, repository_of
from gitops_ml.documents.findings import few, suggestion
from gitops_ml.errors import GitopsMlError, UsageError
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.gitops.release_history import Entry, Event, FoundDeployment, ReleaseHistory
from gitops_ml.gitops.release_yaml import origin_of
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_MOST_FIELDS = 3
_DIGITS = re.compile(r"[0-9a-f]{7,12}")


@dataclass(frozen=True, slots=True)
class History:
    """The deployments of one API, the newest first."""

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]


def history(
    workspace: Workspace,
    api: str,
    *,
    clients: Clients,
    environments: Iterable[str] = (),
    limit: int | None = None,
) -> History:
    """The deployments of ``api``, the newest first; of an API that is gone, too."""
    past = _past(workspace, clients)
    places = tuple(environments) or past.environments
    events = past.events_in(places, api)
    if not events and not environments:
        events = past.events_anywhere(api)
    if not events:
        raise UsageError(
            f"nothing was ever deployed as {api!r}"
            + (f" to {', '.join(places)}" if environments else "")
            + _known_apis(past, api)
        )
    entries = past.entries(api, events[:limit])
    return History(entries, past.warnings())


def trace(workspace: Workspace, id: str, *, clients: Clients) -> FoundDeployment:
    """Trace a deployment id to its source; the forge is asked where the commit names no pull request."""
    found = find_deployment(workspace, clients, id)
    if found.pull_request is not None:
        return found
    return replace(found, pull_request=_asked(found.commit, clients))


def _asked(commit: str, clients: Clients) -> int | None:
    """The pull request by the forge; a forge that does not answer is no error."""
    try:
        forge = clients.forge
        requests = forge.of_commit(commit) if forge else ()
    except GitopsMlError as error:
        clients.progress(f"could not ask the forge for the pull request: {error}")
        return None
    return requests[0].number if requests else None


def find_deployment(workspace: Workspace, clients: Clients, id: str) -> FoundDeployment:
    """The deployment of this id, current or past, in any environment.

    The beginning of an id is enough where it belongs to one deployment only.

    Raises:
        UsageError: there is and was no such deployment; names the nearest.
    """
    past = _past(workspace, clients)
    id = _with_api(past, id)
    api = id.rpartition("-")[0]
    events = past.events_in(past.environments, api)
    if not any((past.id_of(event.after.release) or "").startswith(id) for _, event in events):
        events += past.events_anywhere(api)
    full = {found for _, event in events if (found := past.id_of(event.after.release))}
    matching = {id} & full or {known for known in full if known.startswith(id)}
    if len(matching) > 1:
        raise UsageError(f"{id!r} begins several ids: {', '.join(sorted(matching))}")
    if not matching:
        if away := past.merged_away(api, id):
            return away
        raise _unknown(past, id, full)
    (wanted,) = matching
    events = [found for found in events if past.id_of(found[1].after.release) == wanted]
    return _found(past, api, wanted, events)


def _with_api(past: ReleaseHistory, id: str) -> str:
    """The id of hex digits alone, as tables on a terminal show it; any other one as it is."""
    if not _DIGITS.fullmatch(id):
        return id
    ids = {release.deployment_id for release in current_releases(past.snapshot)}
    if any(known.startswith(id) for known in ids):
        return id
    for known in (ids, past.ids()):
        matching = {each for each in known if each.rpartition("-")[2].startswith(id)}
        if len(matching) > 1:
            raise UsageError(f"{id!r} begins several ids: {', '.join(sorted(matching))}")
        if matching:
            return matching.pop()
    return id


def refuse_near_id(workspace: Workspace, clients: Clients, word: str) -> None:
    """Accept a name that is not near any deployment id: it may be an image.

    Raises:
        UsageError: it is an API there, or nearly one or its deployment id; names the nearest ids.
    """
    if workspace.project.gitops is None:
        return
    try:
        past = _past(workspace, clients)
        current = current_releases(past.snapshot)
    except GitopsMlError:
        return  # the name may be an image
    ids: dict[str, set[str]] = {}
    for release in current:
        ids.setdefault(release.api, set()).add(release.deployment_id)
    names = {word, word.rpartition("-")[0]}
    near = {api for name in names for api in difflib.get_close_matches(name, ids, n=1, cutoff=0.8)}
    if near:
        closest = sorted(id for api in near for id in ids[api])[:5]
        raise UsageError(
            f"there is no deployment {word!r}; near it are: {', '.join(closest)} (an image of "
            f"Docker Hub with that name is docker.io/library/{word})"
        )


def _found(
    past: ReleaseHistory, api: str, id: str, events: list[tuple[str, Event]]
) -> FoundDeployment:
    entries = past.entries(api, events)
    first = entries[-1]
    release = past.release(events[0][1].last.release)
    assert release is not None, "its id was read from it"
    return FoundDeployment(
        deployment_id=id,
        release=release,
        entries=entries,
        commit=first.commit,
        when=first.when,
        author=first.author,
        pull_request=first.pull_request,
        is_current=any(entry.is_current for entry in entries),
    )


def _past(workspace: Workspace, clients: Clients) -> ReleaseHistory:
    repository = repository_of(workspace, clients)
    return ReleaseHistory(repository, environments=workspace.project.environments)


def _unknown(past: ReleaseHistory, id: str, known: set[str]) -> UsageError:
    """Names the nearest ids: those of the same API, else those of current releases."""
    candidates = known or {r.deployment_id for r in current_releases(past.snapshot)}
    near = difflib.get_close_matches(id, sorted(candidates), n=3, cutoff=0.5)
    hint = f"; near it are: {', '.join(near)}" if near else ""
    return UsageError(
        f"there is no deployment {id!r} in the history of the GitOps repository{hint} (an id is "
        "<api>-<12 hex digits>; one of a pull request appears once that is merged)"
    )


def _known_apis(past: ReleaseHistory, api: str) -> str:
    names = {release.api for release in current_releases(past.snapshot)}
    return suggestion(api, sorted(names)) if names else ": the repository has no releases"


# -- for people ------------------------------------------------------------------------------------


def trace_lines(found: FoundDeployment) -> Iterator[tuple[str, str]]:
    """Names and values for people, the manifest apart."""
    release, source = found.release, found.release.provenance
    yield "deployment id", found.deployment_id
    yield "API", release.api
    place = f"{release.environment} (namespace {release.namespace}, team {release.team})"
    yield "environment", place
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
    if origin := origin_of(source):
        yield "origin", ", ".join(f"{name} {value}" for name, value in origin)
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


def table_row(entry: Entry) -> tuple[str, ...]:
    """A deployment for people: is it current, where, id, when, who, what, changes, pull request, commit."""
    return (
        "*" if entry.is_current else "",
        entry.environment,
        entry.deployment_id or "-",
        time_for_people(entry.when),
        entry.author.partition(" <")[0],
        entry.action,
        _changes_in_short(entry.changes),
        f"#{entry.pull_request}" if entry.pull_request else "",
        entry.commit[:12],
    )


def _changes_in_short(changes: Iterable[FieldChange]) -> str:
    """The names of what changed; the image first, and no more than fit a line."""
    paths = (change.path for change in changes)
    found = dict.fromkeys("image" if path.startswith("image.") else path for path in paths)
    names = sorted(found, key=lambda name: name != "image")
    return few(names, _MOST_FIELDS)
