"""What a pull request should have besides: labels, reviewers, auto-merge.

None of them is worth losing it: what the forge does not want to do becomes a warning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_ml.forge.pull_request import PullRequest

Extra = tuple[str, "Callable[[], object]"]
"""What it is, in words that follow "without", and the act."""


def with_extras(pull_request: PullRequest, extras: Iterable[Extra]) -> PullRequest:
    """The pull request once each of ``extras`` was tried, with warnings about those that failed."""
    warnings = []
    for what, act in extras:
        try:
            act()
        except GitopsMlError as error:
            warnings.append(f"{pull_request.url} is open, but without {what}: {error}")
    return replace(pull_request, warnings=tuple(warnings))


def same_text(one: str | None, other: str | None) -> bool:
    """Whether a forge holds the same text: some store what was typed into a form."""
    return _plain(one) == _plain(other)


def _plain(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n").strip()
