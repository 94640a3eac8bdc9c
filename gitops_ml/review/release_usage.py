"""What the releases use that a change leaves as they are: limits of teams count them too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gitops_ml.errors import GitopsMlError
from gitops_ml.git.source_tree import SourceRepository, SourceTree
from gitops_ml.policy.limit_rules import usage_of
from gitops_ml.policy.rule import Usage
from gitops_ml.review.scope import scope_of
from gitops_ml.review.written_tree import write_tree
from gitops_ml.system.named_files import standing_in
from gitops_ml.workspace.manifest_files import Found
from gitops_ml.workspace.workspace import PlannedRelease, read_found

Place = tuple[str, str]
"""Environment and API."""


def usage_of_all(
    repository: SourceRepository, tree: SourceTree, *, start: str, folder: Path
) -> dict[Place, Usage]:
    """What each release of a state uses. It reads every manifest, and is for projects with limits."""
    scope = scope_of(tree.files, start)
    manifests = [path for paths in scope.manifests.values() for path in paths]
    place = folder / "all"
    (place / ".git").mkdir(parents=True)
    named = [scope.project_file] if scope.project_file else []
    write_tree(repository, tree, [*manifests, *named], place)
    found = Found(
        root=place / scope.root,
        project_file=place / scope.project_file if scope.project_file else None,
        manifests=tuple(place / path for path in manifests),
    )
    with standing_in(place):
        try:
            workspace = read_found(found, environments=(), apis=(), covers_project=False)
            return usage_of_planned(workspace.releases)
        except GitopsMlError:
            # What is wrong is reported with the releases that change.
            return {}


def usage_of_planned(releases: Iterable[PlannedRelease]) -> dict[Place, Usage]:
    """What each of these releases uses."""
    return {
        (each.environment.name, each.name): usage_of(each.spec, each.cluster) for each in releases
    }
