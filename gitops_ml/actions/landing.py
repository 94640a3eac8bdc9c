"""How changes get to the GitOps repository: pushed to its branch, or proposed as a pull request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.actions.repository import repository_of
from gitops_ml.adapters.source import read_author
from gitops_ml.delivery import Delivered, MakeChanges, deliver
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.target import Tools
    from gitops_ml.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """How one verb's changes should get there."""

    topic: str
    """What is proposed, as a branch name: ``deploy/staging/iris``. The same topic is the same pull
    request, so proposing again finds it."""
    environments: tuple[str, ...]
    """Those whose releases change: their `delivery` decides where ``pull_request`` does not."""
    pull_request: bool | None = None
    """Whether to propose; ``None`` does what the environments of the project file say."""
    dry_run: bool = False
    """Whether to stop before anything is written to the repository."""
    why: str = ""
    """Paragraphs for the reviewer, in Markdown, on top of what the changes themselves tell."""


def land(
    workspace: Workspace, make_changes: MakeChanges, *, tools: Tools, landing: Landing
) -> Delivered:
    """Commit what ``make_changes`` wants, and push it or open a pull request with it.

    Every verb that changes the GitOps repository ends here. Doing it again changes nothing more.

    Raises:
        UsageError: the project file names no GitOps repository.
        Refused, ServerFailed: the repository or the forge said no, or cannot be reached.
        RepositoryMoved: it holds what we did not write, or others were faster again and again.
    """
    repository = repository_of(workspace, tools)
    if landing.dry_run:
        base = repository.fetch()
        changes, _ = make_changes(base)
        return Delivered(base.commit, None, changes, 1)
    if _proposes(workspace, landing.environments, landing.pull_request):
        raise UsageError(
            f"{', '.join(landing.environments)}: the project file says `delivery: pull_request`, "
            "and this version does not open pull requests yet; choose other environments with "
            "--environment, or set `delivery: push`"
        )
    author = read_author(workspace.root, workspace.project.gitops)
    return deliver(repository, make_changes, author=author)


def _proposes(workspace: Workspace, environments: Iterable[str], asked: bool | None) -> bool:
    if asked is not None:
        return asked
    known = workspace.project.environments
    return any(known[name].delivery == "pull_request" for name in environments if name in known)
