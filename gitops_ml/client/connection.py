"""What every verb of the client needs: the project at hand, the environment, and the neighbours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from gitops_ml.client.progress_line import Teller
from gitops_ml.delivery.change import ChangeOptions
from gitops_ml.workspace import wiring
from gitops_ml.workspace.from_dicts import LoadedProject, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.client.verbs import Client
    from gitops_ml.system.progress import Progress
    from gitops_ml.workspace.clients import Clients
    from gitops_ml.workspace.workspace import Workspace


class Connection:
    """A project and one of its environments."""

    def __init__(
        self,
        at_hand: LoadedProject,
        environment: str,
        *,
        offline: bool = False,
        progress: Progress | bool | None = None,
    ) -> None:
        self._at_hand = at_hand
        self._offline = offline
        self._progress = progress
        self.environment = environment

    @property
    def project(self) -> str:
        """The project's name."""
        return self._at_hand.project.name

    def __repr__(self) -> str:
        repository = self._at_hand.project.gitops and self._at_hand.project.gitops.repository
        return f"<gitops_ml client: {self.project}, {self.environment}, {repository}>"

    # -- for the verbs -----------------------------------------------------------------------------

    @property
    def _client(self) -> Client:
        """Ourselves, with every verb: the rooms of verbs are parts of one client."""
        return cast("Client", self)

    @contextmanager
    def _working(self) -> Iterator[Progress]:
        with Teller(self._progress) as tell:
            yield tell

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Workspace, Clients]]:
        """The project without manifests, for verbs that look at Git alone."""
        with self._working() as tell:
            workspace = describe([], self._at_hand, environment=self.environment)
            yield workspace, self._tools(workspace, tell)

    def _tools(self, workspace: Workspace, tell: Progress) -> Clients:
        return wiring.tools(
            workspace.project, root=workspace.root, offline=self._offline, progress=tell
        )

    def _proposes(self, asked: bool | None, *, environment: str | None = None) -> bool:
        if asked is not None:
            return asked
        return self._at_hand.says_delivery(environment or self.environment) != "push"

    def _options(
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
            pull_request=self._proposes(pull_request, environment=environment),
            why=why,
        )
