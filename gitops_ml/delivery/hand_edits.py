"""Find edits of the GitOps repository by hand that a change would undo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitops_ml.documents.findings import few
from gitops_ml.git.commits import Change, Log, LoggedCommit
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import ReleaseChange, changed_releases
from gitops_ml.gitops.commit_message import is_of_tool
from gitops_ml.gitops.differences import field_changes
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_history import Event, ReleaseHistory
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.system.clean_text import one_line

_MOST_FIELDS = 5
_FEW_PATHS = 8
"""From a few on, git finds the commits of whole folders faster."""


def undone_edits(
    repository: GitRepository, snapshot: GitSnapshot, changes: Iterable[Change]
) -> tuple[str, ...]:
    """A sentence for each file whose last edit by hand ``changes`` take back, with what changes."""
    changes = tuple(changes)
    others = [each for each in changes if _is_written_whole(each)]
    return (
        *_undone_values(repository, snapshot, changes),
        *(_undone_lines(repository, snapshot, others) if others else ()),
    )


def _undone_values(
    repository: GitRepository, snapshot: GitSnapshot, changes: Iterable[Change]
) -> tuple[str, ...]:
    """Of values, with the fields: gitops-ml writes them together with their record."""
    modified = {
        each.directory: each
        for each in changed_releases(changes)
        if each.action == "modify" and each.values[0] is not None
    }
    if not modified:
        return ()
    past = ReleaseHistory(repository, environments=(), snapshot=snapshot)
    events = past.events_below(modified)
    return tuple(
        text
        for directory, release in modified.items()
        for text in _undone(past, release, events[directory])
    )


def edits_that_end(repository: GitRepository, releases: Iterable[Release]) -> tuple[str, ...]:
    """The same for a change that is not deployed yet; ``releases`` are those after it."""
    wanted = {f"{each.directory}/{layout.VALUES}": each for each in releases}
    if not wanted:
        return ()
    snapshot = repository.fetch()
    changes = [
        Change(path, content, wanted[path].text.values.encode())
        for path, content in snapshot.read(wanted).items()
    ]
    return undone_edits(repository, snapshot, changes)


def _undone(past: ReleaseHistory, release: ReleaseChange, events: Sequence[Event]) -> Iterator[str]:
    if not events or not past.is_edit(events[0]):
        return
    edit = events[0].commit
    # What gitops-ml wrote last; several edits may have come since.
    written = next((event.after for event in events if not past.is_edit(event)), events[-1].before)
    before = read_fields(past.content(written.values))
    now, after = map(read_fields, release.values)
    edited = {each.path: each for each in field_changes(before, now)}
    taken_back = [
        f"{each.path}: {each.before!r:.80} becomes {each.after!r:.80}"
        for each in field_changes(now, after)
        if each.path in edited
    ]
    if not taken_back:
        return
    yield _sentence(f"{release.directory}/{layout.VALUES}", edit, taken_back, keep="the manifest")


def _sentence(path: str, edit: LoggedCommit, taken_back: Sequence[str], *, keep: str) -> str:
    return one_line(
        f"{path} was edited by hand ({edit.author[0]}, {edit.id[:12]}), and this takes it back: "
        f"{few(taken_back, _MOST_FIELDS)}. To keep the edit, write it to {keep}",
        most=1000,
    )


# -- all other files: by their lines ---------------------------------------------------------------


def _is_written_whole(change: Change) -> bool:
    """Whether it is a file that gitops-ml writes again, and not values, whose fields are compared."""
    is_modified = change.before is not None and change.after is not None
    return is_modified and layout.file_of(change.path) != layout.VALUES


def _undone_lines(
    repository: GitRepository, snapshot: GitSnapshot, changes: Sequence[Change]
) -> tuple[str, ...]:
    """Of ApplicationSets, AppProjects, records and rendered objects."""
    paths = [each.path for each in changes]
    edits = _edits(repository.log(snapshot, *_places(paths)), paths)
    if edits:
        # A merge has a message of the forge: what it brought may be gitops-ml's.
        written = _edits(repository.log(snapshot, *edits, side_branches=True), edits)
        edits = {path: found for path, found in edits.items() if path in written}
    blobs = repository.blobs(id for _, id in edits.values() if id)
    found = []
    for change in changes:
        if edit := edits.get(change.path):
            commit, id = edit
            if taken_back := _taken_back(change, blobs.get(id or "", b"")):
                keep = "the manifest or the project file"
                found.append(_sentence(change.path, commit, taken_back, keep=keep))
    return tuple(found)


def _places(paths: Sequence[str]) -> Sequence[str]:
    """Where to look for the commits of the paths: of many, in the folders of whole environments."""
    if len(paths) <= _FEW_PATHS:
        return paths
    return sorted({"/".join(path.split("/")[:2]) for path in paths})


def _edits(log: Log, paths: Iterable[str]) -> dict[str, tuple[LoggedCommit, str | None]]:
    """By path, a newest commit that is a person's, and the blob that gitops-ml wrote before."""
    found: dict[str, tuple[LoggedCommit, str | None]] = {}
    for path in paths:
        touched = [commit for commit in log.commits if path in commit.files]
        if touched and not is_of_tool(touched[0].message):
            own = (each.files[path] for each in touched if is_of_tool(each.message))
            found[path] = touched[0], next(own, None)
    return found


def _taken_back(change: Change, written: bytes) -> list[str]:
    """The lines of the edit that go, and those that it removed and that come back."""
    before, after, own = (
        [line.strip() for line in (content or b"").decode(errors="replace").splitlines()]
        for content in (change.before, change.after, written)
    )
    gone = [f"- {line:.80}" for line in before if line not in own and line not in after]
    back = [f"+ {line:.80}" for line in after if line in own and line not in before]
    return [*gone, *back] if own else []
