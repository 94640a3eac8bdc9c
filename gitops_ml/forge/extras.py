"""Labels, reviewers and auto-merge of a pull request.

A pull request without them is still useful: what the forge refuses becomes a warning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_ml.forge.pull_request import PullRequest

Extra = tuple[str, "Callable[[], object]"]
"""Its name, which follows "without" in the warning, and the call that sets it."""


def with_extras(pull_request: PullRequest, extras: Iterable[Extra]) -> PullRequest:
    """Try each of ``extras``; the pull request that comes back has a warning for each that failed."""
    warnings = []
    for what, act in extras:
        try:
            act()
        except GitopsMlError as error:
            warnings.append(f"{pull_request.url} is open, but without {what}: {error}")
    return replace(pull_request, warnings=tuple(warnings))


def same_text(one: str | None, other: str | None) -> bool:
    """Whether two texts are equal, whatever line ends a forge stores."""
    return _plain(one) == _plain(other)


def _plain(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n").strip()
