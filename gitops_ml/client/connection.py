"""The project, environment and progress display of a client."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.client.progress_line import ProgressLine
from gitops_ml.delivery.change import ChangeContext, ChangeOptions
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.from_dicts import workspace_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from gitops_ml.client.arguments import ChangeKeywords
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

    @contextmanager
    def open(self) -> Iterator[tuple[Workspace, Clients]]:
        """The project without APIs, and its clients; progress is shown while the block runs."""
        with ProgressLine(self.progress) as progress:
            workspace = self.workspace()
            yield workspace, self.clients(workspace, progress)

    @contextmanager
    def change(
        self, keywords: ChangeKeywords, *, environment: str | None = None
    ) -> Iterator[ChangeContext]:
        """What a verb needs that changes the releases of ``environment``, by default the client's."""
        options = ChangeOptions(**keywords)
        pull_request = self.proposes(options.pull_request, environment=environment)
        with self.open() as (workspace, clients):
            yield ChangeContext(workspace, clients, replace(options, pull_request=pull_request))

    def workspace(
        self,
        api: DescribedApi | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
    ) -> Workspace:
        return workspace_of(self.loaded, api, environment=self.environment, origin=origin)

    def clients(self, project: Workspace | LoadedProject, progress: Progress) -> Clients:
        return Clients(
            project=project.project, root=project.root, offline=self.offline, progress=progress
        )

    def proposes(self, pull_request: bool | None, *, environment: str | None = None) -> bool:
        """Whether to open a pull request; by default, unless the environment has ``delivery: push``."""
        if pull_request is not None:
            return pull_request
        return self.loaded.delivery_of(environment or self.environment) != "push"
