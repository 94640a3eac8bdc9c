"""What `Client.doctor` found, as a card and as a DataFrame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gitops_ml.client.cards import Card, Result
from gitops_ml.client.python_terms import in_python
from gitops_ml.commands.doctor import Diagnosis as Found
from gitops_ml.doctor.outcome import FINDING, Check
from gitops_ml.facts.running_facts import diagnosis_facts
from gitops_ml.facts.shapes import Result as Facts


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis(Result):
    """Every check, in the order of the report."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome == FINDING)

    def to_frame(self) -> Any:
        """A DataFrame with the columns subject, outcome, text and remedy; needs pandas."""
        import pandas

        return pandas.DataFrame([asdict(check) for check in self.checks])

    def _facts(self) -> Facts:
        return diagnosis_facts(Found(self.checks))

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
