"""Complete the names of environments and APIs in a shell, from the project at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click
    from click.shell_completion import CompletionItem

    from gitops_ml.workspace.workspace import Workspace


def environments(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The environments of the project file."""
    found = _workspace(context)
    return _items(found.project.environments if found else (), context, parameter, incomplete)


def apis(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The APIs of the manifests, also of those with errors elsewhere."""
    found = _workspace(context)
    names = [each.name for each in found.manifests] if found else []
    return _items(names, context, parameter, incomplete)


def _items(
    names: Iterable[str], context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    given = context.params.get(parameter.name or "") or ()
    return [
        CompletionItem(name)
        for name in sorted(set(names))
        if name.startswith(incomplete) and name not in given
    ]


def _workspace(context: click.Context) -> Workspace | None:
    """The project, if it can be read; a shell shows no errors while a person types."""
    from gitops_ml.errors import GitopsMlError
    from gitops_ml.workspace.workspace import open_project

    file = context.params.get("project_file")
    try:
        return open_project((), project_file=Path(file) if file else None, may_be_empty=True)
    except (GitopsMlError, OSError):
        return None
