"""Where a deployment came from: the source repository, the commit, and who was at the keyboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a deployment came from. Written when the deployment id changes, kept otherwise."""

    repository: str | None
    commit: str | None
    is_dirty: bool | None
    """Whether the source had changes that no commit holds; ``None`` where Git does not tell."""
    author: str
    tool_version: str
    origin: Mapping[str, Any] | None = None
    """What it was deployed from, where that is no checkout: a notebook's cell, a step of a flow."""
