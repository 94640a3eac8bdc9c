"""What the client tells about the past and the present: values with attributes, which show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitops_ml.client import cards
from gitops_ml.client.cards import Shown
from gitops_ml.commands.history_facts import changes_in_short, time_for_people, trace_lines
from gitops_ml.system.clean_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_ml.client.verbs import Client
    from gitops_ml.commands import predict as prediction
    from gitops_ml.commands.get import Description
    from gitops_ml.commands.logs import LogLine
    from gitops_ml.gitops.release_history import Entry, FoundDeployment
    from gitops_ml.oci.reference import ImageRef


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class History(Shown):
    """The deployments of an API, the newest first."""

    api: str
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"deployments of {self.api}",
            head=("", "environment", "deployment", "when", "who", "what", "changed", "pr"),
            table=tuple(
                (
                    "*" if entry.is_current else "",
                    entry.environment,
                    entry.deployment_id or "-",
                    time_for_people(entry.when),
                    entry.author.partition(" <")[0],
                    entry.action,
                    changes_in_short(entry.changes),
                    f"#{entry.pull_request}" if entry.pull_request else "",
                )
                for entry in self.entries
            ),
            notes=self.warnings,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trace(Shown):
    """Where a deployment id leads."""

    deployment_id: str
    api: str
    environment: str
    image: ImageRef
    manifest: Mapping[str, Any]
    """The API as it was submitted."""
    source: Mapping[str, Any]
    """Where it came from: repository, commit, author, notebook or flow."""
    commit: str
    """Of the GitOps repository: the first one that holds it."""
    when: str
    author: str
    pull_request: int | None
    is_current: bool
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, found: FoundDeployment) -> Trace:
        return cls(
            deployment_id=found.deployment_id,
            api=found.release.api,
            environment=found.release.environment,
            image=found.image,
            manifest=found.manifest,
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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Status(Shown):
    """How an API is: one word, why, and what to do."""

    api: str
    environment: str
    word: str
    """``live``, ``updating``, ``pending``, ``error``, ``error (image pull)``, …: Cortex's words."""
    reason: str
    remedy: str
    deployment_id: str
    """What Git wants to run."""
    running_id: str | None
    """What runs."""
    ready: int | None
    requested: int | None
    is_up_to_date: bool | None
    endpoint: str | None
    """Where it is called from outside of its cluster, if it can be."""
    replicas: tuple[tuple[str, str], ...]
    """Name and state of each."""
    notes: tuple[str, ...]

    @classmethod
    def of(cls, found: Description) -> Status:
        live = found.live
        workload = live.seen.workload
        return cls(
            api=live.release.api,
            environment=live.release.environment,
            word=live.status.word,
            reason=live.status.reason,
            remedy=live.status.remedy,
            deployment_id=live.release.deployment_id,
            running_id=live.running_id,
            ready=workload.ready if workload else None,
            requested=workload.requested if workload else None,
            is_up_to_date=live.is_up_to_date,
            endpoint=found.endpoint.url if found.endpoint else None,
            replicas=tuple((each.pod.name, each.state) for each in found.replicas),
            notes=(*live.notes, *found.unseen),
        )

    @property
    def is_live(self) -> bool:
        return self.word == "live"

    def __str__(self) -> str:
        return self.word

    def _card(self) -> cards.Card:
        is_other = self.running_id not in (None, self.deployment_id)
        return cards.Card(
            title=f"{self.api} in {self.environment}",
            state=self.word,
            rows=(
                cards.Row("why", self.reason),
                cards.Row("what to do", self.remedy),
                cards.Row("deployment", self.deployment_id),
                cards.Row("running", self.running_id if is_other else None),
                cards.Row(
                    "ready", f"{self.ready} of {self.requested}" if self.ready is not None else None
                ),
                cards.Row("endpoint", self.endpoint, link=self.endpoint or ""),
            ),
            head=("replica", "state"),
            table=self.replicas,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prediction(Shown):
    """What an API answered, and which deployment it was."""

    value: Any
    """JSON as data, text as a string, anything else as bytes."""
    deployment_id: str | None
    """Of the replica that answered."""
    request_id: str | None
    seconds: float
    url: str
    """Where it was asked."""
    headers: Mapping[str, str]
    client: Client = field(compare=False)

    @classmethod
    def of(cls, found: prediction.Prediction, client: Client) -> Prediction:
        return cls(
            value=found.value,
            deployment_id=found.deployment_id,
            request_id=found.request_id,
            seconds=found.seconds,
            url=found.url,
            headers=found.headers,
            client=client,
        )

    def trace(self) -> Trace:
        """Everything behind the deployment that answered: commit, image, source, manifest.

        Raises:
            UsageError: the answer names no deployment, or one that the repository does not know.
        """
        return self.client.trace(self.deployment_id or "")

    def _card(self) -> cards.Card:
        shown = repr(self.value)
        return cards.Card(
            title="prediction",
            rows=(
                cards.Row("value", shown if len(shown) <= 2000 else f"{shown[:2000]}…"),
                cards.Row("deployment", self.deployment_id),
                cards.Row("request", self.request_id),
                cards.Row("took", f"{self.seconds * 1000:.0f} ms"),
            ),
        )


class Logs(Shown, tuple["LogLine", ...]):
    """Log lines of all replicas, in the order of time; `str` is their text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "".join(f"{line.text}\n" for line in self)

    def __repr__(self) -> str:
        return "\n".join(printable(f"{line.pod}  {line.text}") for line in self)

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{len(self)} lines",
            head=("replica", "line"),
            table=tuple((line.pod, line.text) for line in self),
        )
