"""The schemas, charts and templates of gitops-ml, in the wheel or beside it in a checkout."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def resource_directory(name: str) -> Path:
    """The folder ``schemas`` or ``charts``.

    Raises:
        FileNotFoundError: the installation is broken; neither place has it.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation of gitops-ml lacks its folder {name!r}")


def schema_text(name: str) -> str:
    """The text of ``schemas/<name>.schema.json``: ``api``, ``project`` or ``user``."""
    return (resource_directory("schemas") / f"{name}.schema.json").read_text(encoding="utf-8")


@lru_cache
def template_text(name: str) -> str:
    """The text of a template such as ``pull_request.md.j2``."""
    return (_PACKAGE / "templates" / name).read_text(encoding="utf-8")
