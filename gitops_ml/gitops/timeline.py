"""Find the deployments in the states of a release's directory, in the order of the branch.

Only the content of ``release.yaml`` and ``values.yaml`` counts. Commit messages and trailers are for
people: a squash merge drops them, and a manual change does not have them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.gitops import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gitops_ml.git.model import LoggedCommit


@dataclass(frozen=True, slots=True)
class State:
    """The blob ids of a release's files at one commit."""

    release: str | None = None
    values: str | None = None
    manifest: str | None = None

    def after(self, directory: str, files: Mapping[str, str | None]) -> State:
        """The state after a commit that wrote ``files``."""
        names = {
            "release": layout.RELEASE,
            "values": layout.VALUES,
            "manifest": layout.MANIFEST,
        }
        paths = {key: f"{directory}/{name}" for key, name in names.items()}
        return replace(self, **{key: files[path] for key, path in paths.items() if path in files})


@dataclass(frozen=True, slots=True)
class Event:
    """A deployment or a removal by ``commit``."""

    commit: LoggedCommit
    before: State
    after: State
    last: State
    """The state just before the next event, or now."""
    is_return: bool
    """Whether an earlier state had exactly this ``release.yaml``."""
    is_newest: bool = False


def timeline(
    commits: Iterable[LoggedCommit],
    directory: str,
    *,
    is_same: Callable[[State, State], bool],
) -> tuple[Event, ...]:
    """The deployments of one release and its removals, the newest first.

    ``commits`` are those that touched the directory, the newest first. ``is_same`` compares two
    states that both have a ``release.yaml``.
    """
    events: list[Event] = []
    state = State()
    seen: set[str | None] = set()
    for commit in reversed(tuple(commits)):
        now = state.after(directory, commit.files)
        is_event = (
            is_same(state, now) is False
            if state.release and now.release
            else (state.release is None) != (now.release is None)
        )
        if is_event:
            events.append(Event(commit, state, now, now, is_return=now.release in seen))
        elif events:
            events[-1] = replace(events[-1], last=now)
        seen.add(state.release)
        state = now
    if events:
        events[-1] = replace(events[-1], is_newest=True)
    return tuple(reversed(events))
