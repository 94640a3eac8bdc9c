"""Results that compare: the source with Git, Git with the cluster, a commit with another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gitops_ml.client.cards import Card, Result
from gitops_ml.client.python_terms import in_python
from gitops_ml.commands import diff as comparison
from gitops_ml.facts.result_facts import differences_facts, drift_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.facts.shapes import shaped
from gitops_ml.gitops.differences import unified_diff
from gitops_ml.gitops.release_files import Release
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
