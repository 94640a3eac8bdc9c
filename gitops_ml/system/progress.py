"""How long work reports what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with one line of text whenever long work has something to tell."""
