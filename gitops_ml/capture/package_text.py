"""The text about a packaged class for its reviewer: the source, requirements and notes."""

from __future__ import annotations

from typing import Any

from gitops_ml.capture.package import Package
from gitops_ml.documents.markdown import block, code, escaped
from gitops_ml.system.resources import template

_MOST_LINES = 250
_MOST_CHARACTERS = 12_000
"""Bitbucket accepts 32,768 for the whole text."""


def package_text(name: str, package: Package | None, *, why: str, **more: Any) -> str:
    """The template ``name``, filled with the facts; ``why`` is Markdown and all else is escaped."""
    shown, left = _shortened(package.source if package else "")
    text = template(name, code=code, block=block, escaped=escaped).render(
        why=why.strip(),
        path=package.path if package else "",
        class_name=package.class_name if package else "",
        source=shown,
        lines_left=left,
        requirements=package.requirements.lines if package else (),
        notes=package.notes() if package else (),
        **more,
    )
    return text.strip() + "\n"


def _shortened(source: str) -> tuple[str, int]:
    """The first lines of a source, and the number of omitted lines."""
    lines = source.rstrip("\n").split("\n")
    shown: list[str] = []
    length = 0
    for line in lines[:_MOST_LINES]:
        length += len(line) + 1
        if length > _MOST_CHARACTERS:
            break
        shown.append(line)
    return "\n".join(shown), len(lines) - len(shown)
