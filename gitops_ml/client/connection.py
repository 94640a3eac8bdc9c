"""The project, environment and progress display of a client."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.client.progress_line import ProgressLine
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.from_dicts import workspace_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from gitops_ml.system.progress import Progress
    from gitops_ml.workspace.from_dicts import DescribedApi
    from gitops_ml.workspace.workspace import LoadedProject, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    loaded: LoadedProject
    environment: str
    offline: bool = False
    progress: Progress | bool | None = None
    """A function that gets each line; `False` shows nothing."""

    def working(self) -> ProgressLine:
        """Show progress while the block runs."""
        return ProgressLine(self.progress)

    @contextmanager
    def open(self) -> Iterator[tuple[Workspace, Clients]]:
        """The project without APIs, for verbs that need the GitOps repository alone."""
        with self.working() as progress:
            workspace = self.workspace()
            yield workspace, self.clients(workspace, progress)

    def workspace(
        self,
        api: DescribedApi | None = None,
        *,
        environment: str | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> Workspace:
        environment = environment or self.environment
        return workspace_of(self.loaded, api, environment=environment, origin=origin)

    def clients(self, workspace: Workspace, progress: Progress) -> Clients:
        return Clients(
            project=workspace.project, root=workspace.root, offline=self.offline, progress=progress
        )

    def proposes(self, pull_request: bool | None, *, environment: str | None = None) -> bool:
        """Whether to open a pull request; by default, unless the environment has ``delivery: push``."""
        if pull_request is not None:
            return pull_request
        return self.loaded.delivery_of(environment or self.environment) != "push"

    def change_options(
        self,
        dry_run: bool,
        pull_request: bool | None,
        message: str | None,
        why: str,
        *,
        environment: str | None = None,
    ) -> ChangeOptions:
        return ChangeOptions(
            message=message,
            dry_run=dry_run,
            pull_request=self.proposes(pull_request, environment=environment),
            why=why,
        )
