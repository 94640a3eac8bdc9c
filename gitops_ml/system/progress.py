"""Progress reports of long work, and of each program for those who want to see them."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with one line of text for each step of long work."""

watchers: list[Progress] = []
"""Called with each program that has run."""


def note(text: str) -> None:
    """Report a program to the watchers; the text holds no secret."""
    for watcher in watchers:
        watcher(text)
