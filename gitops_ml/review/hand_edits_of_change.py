"""Edits of the GitOps repository by hand that a change would undo once it is merged and deployed."""

from __future__ import annotations

from collections.abc import Iterable

from gitops_ml.delivery.hand_edits import undone_edits
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitRepository
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release


def edits_that_end(repository: GitRepository, releases: Iterable[Release]) -> tuple[str, ...]:
    """A sentence for each release with such an edit; ``releases`` are those after the change.

    Raises:
        GitopsMlError: the GitOps repository cannot be read.
    """
    wanted = {f"{each.directory}/{layout.VALUES}": each for each in releases}
    if not wanted:
        return ()
    snapshot = repository.fetch()
    current = snapshot.read(wanted)
    changes = [
        Change(path, current[path], release.text.values.encode())
        for path, release in wanted.items()
        if path in current
    ]
    return undone_edits(repository, snapshot, changes)
