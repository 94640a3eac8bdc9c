"""What previews of a change lack: secrets that their owner does not list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitops_ml.gitops.previews import secrets_warning
from gitops_ml.project.project import Project
from gitops_ml.review.review import ReleaseReview

_KIND = "RealtimeAPI"
"""Of the releases that previews show."""


def preview_warnings(releases: Iterable[ReleaseReview], project: Project) -> Iterator[str]:
    """A warning for each environment with previews; ``project`` is the one that the change is merged into."""
    specs = [each.after.spec for each in releases if each.after]
    for name, environment in project.environments.items():
        wanted = {
            spec.name: [(each.env, each.name, each.key) for each in spec.secrets]
            for spec in specs
            if spec and (spec.environment, spec.kind) == (name, _KIND)
        }
        if environment.previews and (text := secrets_warning(environment.previews, name, wanted)):
            yield text
