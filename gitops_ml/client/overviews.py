"""Results about all of a project: the status of its releases, their cost, what it relies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gitops_ml.client.cards import Card, Result, counted
from gitops_ml.client.python_terms import in_python
from gitops_ml.commands import cost, doctor, get
from gitops_ml.facts.result_facts import costs_facts, diagnosis_facts, overview_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.release.monthly_cost import money


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
            table=tuple(map(_row, self.releases)),
            notes=(
                *((cost.PRICED,) if self.totals else ()),
                *(line for each in self.releases for line in each.savings()[:1]),
                *((prices,) if self.missing else ()),
                *self.warnings,
            ),
        )


def _row(release: cost.ReleaseCost) -> tuple[str, ...]:
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
