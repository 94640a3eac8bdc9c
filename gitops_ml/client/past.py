"""The deployments of an API, and the origin of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_ml.client import cards
from gitops_ml.client.cards import Result
from gitops_ml.client.connection import Connection
from gitops_ml.commands.history import History as Found
from gitops_ml.commands.history import history, table_row, trace_lines
from gitops_ml.commands.trace_request import DAYS, FoundRequest, trace_any
from gitops_ml.facts.result_facts import history_facts, trace_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.gitops.release_history import Entry, FoundDeployment
from gitops_ml.oci.reference import ImageRef

_OF_RELEASE = (
    *("api", "environment", "team", "namespace", "server", "project"),
    *("image", "content_hash", "manifest_file", "manifest"),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class History(Result):
    """The deployments of an API, the newest first."""

    api: str
    deployments: tuple[Entry, ...]
    warnings: tuple[str, ...]
    _found: Found = field(compare=False)

    @classmethod
    def read(cls, connection: Connection, api: str, *, limit: int | None) -> History:
        with connection.open() as (workspace, clients):
            found = history(
                workspace, api, clients=clients, environments=[connection.environment], limit=limit
            )
        return cls.from_verb(found, api=api, deployments=found.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.deployments)

    def __len__(self) -> int:
        return len(self.deployments)

    def __getitem__(self, index: int) -> Entry:
        return self.deployments[index]

    def _facts(self) -> Facts:
        return history_facts(self._found, self.api)

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"deployments of {self.api}",
            head=("", "deployment", "when", "who", "what", "changed", "pr", "commit"),
            table=tuple(map(_row, self.deployments)),
            notes=self.warnings,
        )


def _row(entry: Entry) -> tuple[str, ...]:
    """The row of the command line without the environment, which a client has one of."""
    mark, _, *others, commit = table_row(entry)
    return (mark, *others, commit[:8])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trace(Result):
    """The origin of a deployment id."""

    deployment_id: str
    api: str
    environment: str
    team: str
    namespace: str
    server: str
    project: str
    image: ImageRef
    content_hash: str | None
    chart: str
    """Its name and version."""
    manifest_file: str | None
    manifest: Mapping[str, Any]
    """The API as it was submitted."""
    source: Mapping[str, Any]
    """Its provenance: repository, commit, author, notebook or flow."""
    commit: str
    """The first commit of the GitOps repository with this deployment."""
    when: str
    author: str
    pull_request: int | None
    is_current: bool
    deployments: tuple[Entry, ...]
    """Each time that it was deployed, the newest first."""
    request: FoundRequest | None
    """Where the request is in the logs, if its id was given."""
    lines: tuple[tuple[str, str], ...]
    _found: FoundDeployment = field(compare=False)

    @classmethod
    def read(
        cls, connection: Connection, id: str, *, apis: Iterable[str] = (), days: float = DAYS
    ) -> Trace:
        with connection.open() as (workspace, clients):
            found, request = trace_any(workspace, id, clients=clients, apis=tuple(apis), days=days)
        release = found.release
        return cls.from_verb(
            found,
            **{name: getattr(release, name) for name in _OF_RELEASE},
            chart=f"{release.chart}-{release.chart_version}",
            source=release.provenance,
            deployments=found.entries,
            request=request,
            lines=tuple(trace_lines(found)),
        )

    @property
    def digest(self) -> str | None:
        return self.image.digest

    def _facts(self) -> Facts:
        return trace_facts(self._found, self.request)

    def _card(self) -> cards.Card:
        return cards.Card(
            title=self.deployment_id, rows=tuple(cards.Row(*line) for line in self.lines)
        )
