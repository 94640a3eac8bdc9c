"""What the client's methods return: values with attributes, which show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitops_ml.core import layout
from gitops_ml.core.differences import unified_diff
from gitops_ml.library import cards

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gitops_ml.core import pull_request
    from gitops_ml.core.changes import Change
    from gitops_ml.core.image import ImageRef
    from gitops_ml.library.verbs import Client


class Shown:
    """Something that notebooks show as a card, and everything else as lines of text."""

    __slots__ = ()

    def _card(self) -> cards.Card:
        raise NotImplementedError

    def __repr__(self) -> str:
        return cards.text(self._card())

    def _repr_html_(self) -> str:
        return cards.html(self._card())


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PullRequest(Shown):
    """Where changes wait for their review."""

    number: int
    """0 where there is a branch and no forge."""
    url: str
    """The page for people; without a forge the one that opens a pull request, if it is known."""
    title: str
    state: str
    """``open``, ``merged`` or ``closed``."""
    head: str
    base: str
    commit: str | None
    merge_commit: str | None
    is_draft: bool

    @classmethod
    def of(cls, found: pull_request.PullRequest | None) -> PullRequest | None:
        if found is None:
            return None
        return cls(
            number=found.number,
            url=found.url,
            title=found.title,
            state=found.state,
            head=found.head,
            base=found.base,
            commit=found.commit,
            merge_commit=found.merge_commit,
            is_draft=found.is_draft,
        )

    @property
    def name(self) -> str:
        """``#12``, or the branch where there is no forge."""
        return f"#{self.number}" if self.number else self.head

    def _card(self) -> cards.Card:
        state = "draft" if self.is_draft and self.state == "open" else self.state
        kind = "pull request" if self.number else "branch"
        return cards.Card(
            title=self.title,
            state=state if self.number else "pushed",
            rows=(
                cards.Row(kind, self.name, link=self.url),
                cards.Row("branches", f"{self.head} → {self.base}"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Api(Shown):
    """One API in one environment, as a call left it."""

    name: str
    environment: str
    namespace: str
    deployment_id: str | None = None
    """`None` for a source proposal: CI makes it."""
    image: ImageRef | None = None
    """With its digest, unless this is a plan whose image is not built yet."""
    content: str = "complete"
    """``source`` where code and manifest are proposed, for CI to build."""
    changes: tuple[Change, ...] = ()
    """The files that change: in the GitOps repository, or in the source repository."""
    commit: str | None = None
    """The new commit; `None` where nothing had to change, or for a plan."""
    pull_request: PullRequest | None = None
    """Where the commit waits for its review; `None` where it is on the branch."""
    is_plan: bool = False
    """Whether this is what would happen (``dry_run=True``)."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was found out while the class was packaged."""
    package: Path | None = None
    """The folder that the class was packaged in, as it enters the image."""
    client: Client = field(compare=False)

    @property
    def diff(self) -> str:
        """What changes, as a unified diff; base charts, which come with gitops-ml, are left out."""
        return "".join(map(unified_diff, own_changes(self.changes)))

    @property
    def summary(self) -> str:
        """What has become of it, in a few words."""
        if not self.changes:
            return "nothing to change"
        if self.is_plan:
            return "planned, nothing is changed"
        if self.pull_request is not None:
            where = self.pull_request.url or self.pull_request.head
            return f"proposed: {where}"
        return f"committed {(self.commit or '')[:12]}"

    def _card(self) -> cards.Card:
        return cards.Card(
            title=f"{self.name} in {self.environment}",
            state=_state(self),
            rows=(
                cards.Row("deployment", self.deployment_id),
                cards.Row("image", str(self.image) if self.image else None),
                *_review_rows(self.pull_request, self.commit),
            ),
            notes=(*self.notes, *self.warnings),
            diff=tuple(map(unified_diff, own_changes(self.changes))),
            files=len(self.changes),
        )


def own_changes(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those that are not of a base chart."""
    return tuple(change for change in changes if layout.chart_of(change.path) is None)


def _state(result: Any) -> str:
    if result.is_plan:
        return "plan"
    if not result.changes:
        return "unchanged"
    return "proposed" if result.pull_request is not None else "committed"


def _review_rows(review: PullRequest | None, commit: str | None) -> tuple[cards.Row, ...]:
    if review is not None:
        kind = "pull request" if review.number else "branch"
        return (cards.Row(kind, f"{review.name} {review.title}", link=review.url),)
    return (cards.Row("commit", commit[:12] if commit else None),)
