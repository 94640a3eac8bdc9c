"""The verbs of a client that compare and look, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from gitops_ml.client.changes import Check, Differences, Drift
from gitops_ml.client.connection import Connection, ProgressLine
from gitops_ml.client.overviews import Costs, Overview
from gitops_ml.client.python_terms import speaks_python
from gitops_ml.errors import UsageError
from gitops_ml.project.project import Project
from gitops_ml.workspace.clients import Clients


@speaks_python
class Reading:
    """What `Client` inherits; needs the manifests of the project in files where it says so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.environment = connection.environment

    def get(self, api_name: str | None = None) -> Overview:
        """The releases of the project in this environment with their status in Git and in the cluster."""
        from gitops_ml.commands.get import list_live

        with self._connection.open() as (workspace, clients):
            return Overview.from_verb(list_live(workspace, clients=clients, api=api_name))

    def diff(
        self,
        path: str | Path | None = None,
        *,
        manifests: bool = False,
        live: bool = False,
        api_names: Sequence[str] = (),
    ) -> Differences | Drift:
        """What a deploy of the manifest files would change; with ``live``, what the cluster has otherwise than Git.

        ``path`` is a manifest or a folder, by default the folder of the project. ``manifests`` compares the
        rendered Kubernetes objects too. A release that is in no file has its differences in `create_api(…,
        dry_run=True)`.
        """
        if live:
            return self._drift(path, manifests=manifests, api_names=tuple(api_names))
        from gitops_ml.commands.diff import diff

        with self._connection.read(path, apis=api_names) as (workspace, clients):
            found = diff(workspace, clients=clients, with_objects=manifests)
        return Differences.from_verb(found)

    def _drift(
        self, path: str | Path | None, *, manifests: bool, api_names: tuple[str, ...]
    ) -> Drift:
        from gitops_ml.commands.diff import drift

        if path is not None or manifests:
            raise UsageError(
                "live=True compares the GitOps repository with the cluster: leave path and manifests out"
            )
        with self._connection.open() as (workspace, clients):
            return Drift.from_verb(drift(workspace, clients=clients, apis=api_names))

    def check(
        self,
        base: str | None = None,
        *,
        head: str | None = None,
        api_names: Sequence[str] = (),
        advisories: str | Path | None = None,
    ) -> Check:
        """What a change of the source does to the releases of this environment; nothing of it is executed.

        ``base`` is a branch, tag or commit of the source repository, `None` for the GitOps repository;
        ``head`` is a commit, `None` for the files as they are. ``advisories`` is a folder of OSV files.
        """
        from gitops_ml.commands.check import CheckOptions, check

        options = CheckOptions(
            base=base, head=head, environments=(self.environment,), apis=tuple(api_names),
            advisories=Path(advisories) if advisories else None,
        )  # fmt: skip
        connection = self._connection
        with ProgressLine(connection.progress) as progress:

            def clients_of(project: Project, root: Path) -> Clients:
                return connection.clients_of(project, root, progress)

            asks = None if connection.offline else clients_of
            return Check.from_verb(check(connection.loaded.root, options, clients_of=asks))

    def cost(
        self,
        api_name: str | None = None,
        *,
        path: str | Path | None = None,
        prometheus: str | None = None,
    ) -> Costs:
        """What the releases of the manifest files have cost in the last week, and what would cost less.

        ``prometheus`` is a URL where this machine reaches it, if not at the address in the project file.
        """
        from gitops_ml.commands.cost import costs

        now = datetime.now(timezone.utc)
        with self._connection.read(path) as (workspace, clients):
            found = costs(workspace, clients=clients, now=now, api=api_name, address=prometheus)
        return Costs.from_verb(found, totals=found.totals())
