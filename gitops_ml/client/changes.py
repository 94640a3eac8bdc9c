"""Results that compare: the source with Git, Git with the cluster, a commit with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gitops_ml.client.cards import Card, Result
from gitops_ml.client.python_terms import in_python
from gitops_ml.commands import diff as comparison
from gitops_ml.commands import live
from gitops_ml.errors import Problem
from gitops_ml.facts.result_facts import differences_facts, drift_facts
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.facts.shapes import shaped
from gitops_ml.git.commits import Change
from gitops_ml.gitops.differences import ObjectChange, unified_diff
from gitops_ml.gitops.release_files import Release
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.release.monthly_cost import CostRange
from gitops_ml.review.headline import effect
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.review import ReleaseReview, Review, State


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Differences(Result):
    """What a deploy would change in the GitOps repository."""

    releases: tuple[Release, ...]
    """Those whose files would change."""
    changes: tuple[Change, ...]
    pods: Mapping[str, str]
    """What would happen to the pods of each release, by its directory."""
    objects: tuple[tuple[str, tuple[ObjectChange, ...]], ...]
    """By directory of the release, where ``manifests=True`` asked for them."""
    left: tuple[str, ...]
    """Releases of this project that no manifest describes any more."""
    warnings: tuple[str, ...]
    _found: comparison.Differences = field(compare=False)

    @property
    def diff(self) -> str:
        """The changes as a unified diff, without base charts."""
        return "".join(map(unified_diff, self._found.own_changes()))

    def _facts(self) -> Facts:
        return differences_facts(self._found)

    def _card(self) -> Card:
        return Card(
            title=in_python(self._found.summary()),
            state="plan" if self.changes else "unchanged",
            head=("release", "pods"),
            table=tuple(self.pods.items()),
            notes=self.warnings,
            diff=tuple(map(unified_diff, self._found.own_changes())),
            files=len(self.changes),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Drift(Result):
    """What the cluster has otherwise than Git, and who changed it."""

    releases: tuple[live.ReleaseDrift, ...]
    is_clean: bool
    warnings: tuple[str, ...]
    _found: live.Drift = field(compare=False)

    def _facts(self) -> Facts:
        return drift_facts(self._found)

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
class Check(Result):
    """What a change of the source does to releases: what restarts, costs and breaks."""

    project: str
    base: State
    head: State
    headline: str
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]
    releases: tuple[ReleaseReview, ...]
    recorded: tuple[str, ...]
    findings: tuple[RuleFinding, ...]
    """Broken rules about several releases; those of one release are in its ``findings``."""
    cost: tuple[CostRange | None, CostRange | None] | None
    hand_edits: tuple[str, ...]
    warnings: tuple[str, ...]
    _found: Review = field(compare=False)

    @property
    def is_clean(self) -> bool:
        """Whether documents are valid and no rule of severity ``error`` is broken."""
        return not self._found.errors and not self._found.broken

    def markdown(self) -> str:
        """The comment that the command line posts to a pull request."""
        from gitops_ml.review.reports.markdown_comment import comment

        return comment(self._found)

    def _facts(self) -> Facts:
        return shaped("check", **review_facts(self._found))

    def _card(self) -> Card:
        broken = [in_python(f"{each.rule}: {each.message}") for each in self._found.all_findings]
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
