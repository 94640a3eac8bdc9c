"""Changes brought to the GitOps repository while others do the same: fetch, commit, push, again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.core.changes import Change
from gitops_ml.errors import RepositoryMoved
from gitops_ml.ports import GitopsRepository, Snapshot

if TYPE_CHECKING:
    from gitops_ml.core.pull_request import PullRequest

MakeChanges = Callable[[Snapshot], tuple[tuple[Change, ...], str]]
"""What to change in this snapshot, and the commit message; asked again when the branch moved."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What has become of the changes."""

    base: str | None
    """The commit that was built on; ``None`` in a repository that was empty."""
    commit: str | None
    """The new commit; ``None`` where nothing had to change."""
    changes: tuple[Change, ...]
    attempts: int
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; ``None`` where it is on the branch."""


def deliver(
    repository: GitopsRepository,
    make_changes: MakeChanges,
    *,
    author: tuple[str, str],
    attempts: int = 40,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Delivered:
    """Commit what ``make_changes`` wants and push it, anew as often as somebody else was faster.

    Never forces. Doing it again after it was interrupted at any point finds the repository as it
    was, or the changes in it.

    Raises:
        RepositoryMoved: somebody else was faster each time.
        Refused: the server said no.
        ServerFailed: it cannot be reached.
    """
    for attempt in range(1, attempts + 1):
        base = repository.fetch()
        changes, message = make_changes(base)
        if not changes:
            return Delivered(base.commit, None, (), attempt)
        commit = repository.commit(base, changes, message=message, author=author)
        try:
            repository.push(commit, base=base)
        except RepositoryMoved:
            if attempt == attempts:
                raise
            sleep(pause(attempt, jitter()))
        else:
            return Delivered(base.commit, commit, changes, attempt)
    raise ValueError("attempts counts from 1")


def pause(attempt: int, share: float) -> float:
    """Seconds before the next attempt: up to two, ``share`` (0 to 1) of a span that doubles."""
    return min(2.0, 0.02 * 2.0 ** min(attempt, 8)) * share
