"""The provenance of a deployment: source repository, commit and author."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Written when the deployment id changes, kept otherwise."""

    repository: str | None
    commit: str | None
    is_dirty: bool | None
    """Whether the source had uncommitted changes; ``None`` where that is unknown."""
    author: str
    tool_version: str
    origin: Mapping[str, Any] | None = None
    """The source where it is not a checkout: a notebook's cell, a step of a flow."""
