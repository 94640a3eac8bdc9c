"""Pull requests, proposals and examples as rows of cards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from gitops_ml.capture.comparison.example import Example
from gitops_ml.client import cards
from gitops_ml.client.cards import Shown
from gitops_ml.delivery.proposals import Proposed
from gitops_ml.forge import pull_request


class PullRequest(Shown, pull_request.PullRequest):
    """The pull request, or without a forge the branch, with the changes of a call."""

    __slots__ = ()

    @classmethod
    def of(cls, found: pull_request.PullRequest | None) -> PullRequest | None:
        if found is None:
            return None
        return cls(**{each.name: getattr(found, each.name) for each in fields(found)})

    @property
    def name(self) -> str:
        """``#12``, or the branch if there is no forge."""
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


def proposed_rows(proposed: Iterable[Proposed]) -> Iterator[cards.Row]:
    """The pull requests that wait for their merge, with who proposed them."""
    for each in proposed:
        review = each.pull_request
        name = f"#{review.number} {review.title}" if review.number else review.head
        yield cards.Row("proposed", f"{name}, by {each.author}", link=review.url)


def review_rows(review: PullRequest | None, commit: str | None) -> tuple[cards.Row, ...]:
    if review is not None:
        kind = "pull request" if review.number else "branch"
        return (cards.Row(kind, f"{review.name} {review.title}", link=review.url),)
    return (cards.Row("commit", commit[:12] if commit else None),)


def example_rows(example: Example | None) -> tuple[cards.Row, ...]:
    if example is None:
        return ()
    if example.why_not:
        return (cards.Row("example", f"was not tried: {example.why_not}"),)
    return (
        cards.Row("example", example.payload),
        cards.Row("answer here", example.here),
        cards.Row("packaged", example.packaged),
    )
