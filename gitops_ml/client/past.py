"""The deployments of an API, and the origin of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.client import cards
from gitops_ml.client.cards import Shown
from gitops_ml.client.python_terms import in_python
from gitops_ml.commands.history import history, table_row, trace_lines
from gitops_ml.commands.trace_request import trace_any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_ml.client.connection import Connection
    from gitops_ml.gitops.release_history import Entry
    from gitops_ml.oci.reference import ImageRef


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class History(Shown):
    """The deployments of an API, the newest first."""

    api: str
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, connection: Connection, api: str, *, limit: int | None) -> History:
        with connection.open() as (workspace, clients):
            found = history(
                workspace, api, clients=clients, environments=[connection.environment], limit=limit
            )
        warnings = tuple(map(in_python, found.warnings))
        return cls(api=api, entries=found.entries, warnings=warnings)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"deployments of {self.api}",
            head=("", "deployment", "when", "who", "what", "changed", "pr", "commit"),
            table=tuple(map(_row, self.entries)),
            notes=self.warnings,
        )


def _row(entry: Entry) -> tuple[str, ...]:
    """The row of the command line without the environment, which a client has one of."""
    mark, _, *others, commit = table_row(entry)
    return (mark, *others, commit[:8])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trace(Shown):
    """The origin of a deployment id."""

    deployment_id: str
    api: str
    environment: str
    image: ImageRef
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
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, connection: Connection, deployment_id: str) -> Trace:
        with connection.open() as (workspace, clients):
            found, _ = trace_any(workspace, deployment_id, clients=clients)
        return cls(
            deployment_id=found.deployment_id,
            api=found.release.api,
            environment=found.release.environment,
            image=found.release.image,
            manifest=found.release.manifest,
            source=found.release.provenance,
            commit=found.commit,
            when=found.when,
            author=found.author,
            pull_request=found.pull_request,
            is_current=found.is_current,
            lines=tuple(trace_lines(found)),
        )

    def _card(self) -> cards.Card:
        return cards.Card(
            title=self.deployment_id, rows=tuple(cards.Row(*line) for line in self.lines)
        )
