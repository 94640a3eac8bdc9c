"""The schemas, charts and templates of gitops-ml, in the wheel or beside it in a checkout."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

_PACKAGE = Path(__file__).resolve().parent.parent


def resource_directory(name: str) -> Path:
    """The folder ``schemas`` or ``charts``."""
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation of gitops-ml lacks its folder {name!r}")


def schema_text(name: str) -> str:
    """The text of ``schemas/<name>.schema.json``: ``api``, ``project`` or ``user``."""
    return (resource_directory("schemas") / f"{name}.schema.json").read_text(encoding="utf-8")


def resource_text(name: str) -> str:
    """The text of a file of the folder ``templates``."""
    return (_PACKAGE / "templates" / name).read_text(encoding="utf-8")


@lru_cache
def template(
    name: str,
    *,
    is_html: bool = False,
    finalize: Callable[[Any], Any] | None = None,
    has_braces: bool = False,
    **filters: Callable[..., Any],
) -> Template:
    """A template such as ``pull_request.md.j2``, where a variable without a value is an error.

    Only HTML is escaped automatically; the templates of other formats escape with ``filters``. With
    ``has_braces``, the text itself has ``{{ }}``, and the marks of the template are ``[[ ]]`` and ``[% %]``.
    """
    from jinja2 import Environment, StrictUndefined

    marks: dict[str, Any] = {
        "variable_start_string": "[[", "variable_end_string": "]]",
        "block_start_string": "[%", "block_end_string": "%]",
    }  # fmt: skip
    environment = Environment(
        **(marks if has_braces else {}),
        autoescape=is_html,  # noqa: S701 - Markdown, YAML and Dockerfiles are not HTML
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.from_string(resource_text(name))
