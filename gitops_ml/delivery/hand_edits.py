"""Find edits of releases in the GitOps repository that a change would undo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitRepository, GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import ReleaseChange, changed_releases
from gitops_ml.gitops.differences import field_changes
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_history import Event, ReleaseHistory
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.system.clean_text import one_line

_MOST_FIELDS = 5


def undone_edits(
    repository: GitRepository, snapshot: GitSnapshot, changes: Iterable[Change]
) -> tuple[str, ...]:
    """A sentence for each release whose last edit by hand ``changes`` take back, with the fields."""
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
    """The same for a change that is not deployed yet; ``releases`` are those after it.

    Raises:
        GitopsMlError: the GitOps repository cannot be read.
    """
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
    more = f" and {len(taken_back) - _MOST_FIELDS} more" if len(taken_back) > _MOST_FIELDS else ""
    yield one_line(
        f"{release.directory}/{layout.VALUES} was edited by hand ({edit.author[0]}, {edit.id[:12]}), "
        f"and this takes it back: {', '.join(taken_back[:_MOST_FIELDS])}{more}. To keep the edit, write it "
        "to the manifest",
        most=1000,
    )
