"""The verbs of a client that compare and look, and change nothing, with their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from gitops_ml.client.cards import Card, Result, counted
from gitops_ml.client.connection import Connection, progress_line
from gitops_ml.client.python_terms import in_python, speaks_python
from gitops_ml.commands import cost, doctor, get
from gitops_ml.commands import diff as comparison
from gitops_ml.errors import UsageError
from gitops_ml.facts.result_facts import (
    costs_facts,
    diagnosis_facts,
    differences_facts,
    drift_facts,
    overview_facts,
)
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.facts.shapes import shaped
from gitops_ml.gitops.differences import unified_diff
from gitops_ml.gitops.release_files import Release
from gitops_ml.release.monthly_cost import money
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.review import Review
from gitops_ml.review.sentences import effect, headline


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Differences(Result, comparison.Differences):
    """What a deploy would change in the GitOps repository."""

    @property
    def releases(self) -> tuple[Release, ...]:
        """Those whose files would change."""
        return self.changed

    @property
    def diff(self) -> str:
        """The changes as a unified diff, without base charts."""
        return "".join(map(unified_diff, self.own_changes()))

    def _facts(self) -> Facts:
        return differences_facts(self)

    def _card(self) -> Card:
        return Card(
            title=in_python(self.summary()),
            state="plan" if self.changes else "unchanged",
            head=("release", "pods"),
            table=tuple(self.pods.items()),
            notes=self.warnings,
            diff=tuple(map(unified_diff, self.own_changes())),
            files=len(self.changes),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Drift(Result, comparison.Drift):
    """What the cluster has otherwise than Git, and who changed it."""

    def _facts(self) -> Facts:
        return drift_facts(self)

    def _card(self) -> Card:
        return Card(
            title="Git and the cluster",
            state="alike" if self.is_clean else "different",
            head=("api", "object", "field", "Git", "cluster", "owner"),
            table=tuple(self._rows()),
            notes=self.warnings,
        )

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for release in self.releases:
            for each in release.differences:
                owner = each.owner.name if each.owner else ""
                owner += " (as intended)" if each.is_expected else ""
                values = (repr(value)[:100] if each.path else "" for value in (each.git, each.live))
                yield release.api, f"{each.kind}/{each.name}", each.path, *values, owner


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Check(Result, Review):
    """What a change of the source does to releases: what restarts, costs and breaks."""

    @property
    def headline(self) -> str:
        return headline(self)

    @property
    def is_clean(self) -> bool:
        """Whether documents are valid and no rule of severity ``error`` is broken."""
        return not self.errors and not self.broken

    def markdown(self) -> str:
        """The comment that the command line posts to a pull request."""
        from gitops_ml.review.reports.markdown_comment import comment

        return comment(self)

    def _facts(self) -> Facts:
        return shaped("check", **review_facts(self))

    def _card(self) -> Card:
        broken = [in_python(f"{each.rule}: {each.message}") for each in self.all_findings]
        edits = [f"edit by hand that ends: {each}" for each in self.hand_edits]
        return Card(
            title=self.headline,
            state="well" if self.is_clean else "findings",
            head=("api", "environment", "what happens", "pods"),
            table=tuple(
                (each.api, each.environment, effect(each), each.rollout.pods)
                for each in self.releases
            ),
            notes=(*map(str, self.problems), *broken, *edits, *self.warnings),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Overview(Result, get.Overview):
    """Releases with their status: what Git wants, and what runs."""

    def _facts(self) -> Facts:
        return overview_facts(self)

    def _card(self) -> Card:
        return Card(
            title=counted(len(self.releases), "release"),
            head=("api", "environment", "status", "ready", "deployment"),
            table=tuple(
                (
                    each.release.api, each.release.environment, each.status.state,
                    f"{workload.ready} of {workload.requested}" if (workload := each.seen.workload) else "",
                    each.release.deployment_id,
                )
                for each in self.releases
            ),
            notes=self.unseen,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Costs(Result):
    """What releases have cost, and what would cost less."""

    releases: tuple[cost.ReleaseCost, ...]
    totals: Mapping[str, tuple[float, float, float]]
    """Day, week and month of all releases, by currency."""
    missing: tuple[str, ...]
    """Fields of the project file without which some cost is not known."""
    warnings: tuple[str, ...]
    _found: cost.Costs = field(compare=False)

    def to_frame(self) -> Any:
        """A DataFrame with a row for each release; needs pandas."""
        import pandas

        rows = [
            {"api": each["api"], "environment": each["environment"], **(each["spending"] or {})}
            for each in self._facts()["releases"]
        ]
        return pandas.DataFrame(rows).drop(columns="savings", errors="ignore")

    def _facts(self) -> Facts:
        return costs_facts(self._found)

    def _card(self) -> Card:
        prices = f"no prices: set {', '.join(self.missing)} in the project file"
        return Card(
            title="cost",
            head=("api", "environment", "last day", "last week", "per month", "idle", "saving"),
            table=tuple(map(_cost_row, self.releases)),
            notes=(
                *((cost.PRICED,) if self.totals else ()),
                *(line for each in self.releases for line in each.savings()[:1]),
                *((prices,) if self.missing else ()),
                *self.warnings,
            ),
        )


def _cost_row(release: cost.ReleaseCost) -> tuple[str, ...]:
    each = release.spending
    if each is None:
        return (release.api, release.environment, "", "", "", "", "nothing recorded")
    amounts = (_amount(value, each.currency) for value in (each.day, each.week, each.month))
    idle = "" if each.idle is None else f"{each.idle:.0%}"
    best = each.savings[0] if each.savings else None
    saving = f"{_amount(best.per_month, each.currency)} by {best.name}" if best else ""
    return (release.api, release.environment, *amounts, idle, saving)


def _amount(value: float | None, currency: str | None) -> str:
    return "" if value is None or currency is None else money(value, currency)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Diagnosis(Result, doctor.Diagnosis):
    """Every check of what the project relies on, in the order of the report."""

    def to_frame(self) -> Any:
        """A DataFrame with the columns subject, outcome, text and remedy; needs pandas."""
        import pandas

        return pandas.DataFrame([asdict(check) for check in self.checks])

    def _facts(self) -> Facts:
        return diagnosis_facts(self)

    def _card(self) -> Card:
        number = len(self.findings)
        rows = [(each.subject, each.outcome, in_python(each.text)) for each in self.checks]
        return Card(
            title="doctor",
            state=f"findings {number}" if number else "well",
            head=("subject", "outcome", "what"),
            table=tuple(rows),
            notes=tuple(f"{each.subject}: {in_python(each.remedy)}" for each in self.findings),
        )


@speaks_python
class Reading:
    """What `Client` inherits; needs the manifests of the project in files where it says so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.environment = connection.environment

    def get(self, api_name: str | None = None) -> Overview:
        """The releases of the project in this environment with their status in Git and in the cluster."""
        with self._connection.open() as (workspace, clients):
            return Overview.from_verb(get.list_live(workspace, clients=clients, api=api_name))

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
        with self._connection.read(path, apis=api_names) as (workspace, clients):
            found = comparison.diff(workspace, clients=clients, with_objects=manifests)
        return Differences.from_verb(found)

    def _drift(
        self, path: str | Path | None, *, manifests: bool, api_names: tuple[str, ...]
    ) -> Drift:
        if path is not None or manifests:
            raise UsageError(
                "live=True compares the GitOps repository with the cluster: leave path and manifests out"
            )
        with self._connection.open() as (workspace, clients):
            return Drift.from_verb(comparison.drift(workspace, clients=clients, apis=api_names))

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
        with progress_line(connection.progress) as progress:
            clients_of = partial(connection.clients, progress=progress)
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
        now = datetime.now(timezone.utc)
        with self._connection.read(path) as (workspace, clients):
            found = cost.costs(
                workspace, clients=clients, now=now, api=api_name, address=prometheus
            )
        return Costs.from_verb(found, totals=found.totals())
