"""Show results: a card in a notebook, lines of text elsewhere, from the same facts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.comparison.example import Example
from gitops_ml.client.python_terms import in_python
from gitops_ml.delivery.proposals import Proposed
from gitops_ml.facts.shapes import Result as Facts
from gitops_ml.forge import pull_request
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.clean_text import printable
from gitops_ml.system.resources import template

if TYPE_CHECKING:
    from typing_extensions import Self

_MOST_DIFF_LINES = 400
_COLOURS = {
    "plan": "#6e5494",
    "open": "#0b62a8", "proposed": "#0b62a8", "pushed": "#0b62a8",
    "merged": "#0f6b70", "committed": "#0f6b70", "deployed": "#0f6b70",
    "live": "#1f7a3d",
    "updating": "#9a5b00", "pending": "#9a5b00", "draft": "#5f6772",
    "closed": "#b42318", "error": "#b42318",
    "different": "#b42318", "alike": "#1f7a3d", "findings": "#b42318", "well": "#1f7a3d",
}  # fmt: skip
"""Background of white text, readable in light and dark notebooks."""
_GREY = "#5f6772"


@dataclass(frozen=True, slots=True)
class Row:
    """One fact; hidden if it has no value."""

    name: str
    value: str | None
    link: str = ""
    whole: str = ""
    """The value in full, where ``value`` is cut; shown under the pointer."""

    @property
    def safe_link(self) -> str:
        """The link, if it is an HTTP URL: the response of a forge is not trusted."""
        return self.link if self.link.startswith(("https://", "http://")) else ""


def image_row(image: ImageRef | None) -> Row:
    """An image with the first characters of its digest."""
    return Row("image", image.brief if image else None, whole=str(image or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The facts of a result."""

    title: str
    state: str = ""
    rows: tuple[Row, ...] = ()
    head: tuple[str, ...] = ()
    """The header of the table."""
    table: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    """Unified diffs, one per file."""
    files: int = 0
    """The number of changed files, including those whose diff is not shown."""

    @property
    def shown_rows(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.value)


class Shown:
    """A value that notebooks show as a card, and everything else as lines of text."""

    __slots__ = ()

    @abstractmethod
    def _card(self) -> Card: ...

    def __repr__(self) -> str:
        return text(self._card())

    def _repr_html_(self) -> str:
        return html(self._card())


class Result(Shown):
    """What a verb returns: its keys in `docs/output.md` are attributes."""

    __slots__ = ()

    @classmethod
    def from_verb(cls, found: Any, **made: Any) -> Self:
        """What the verb returned: each field is one of ``made``, or the attribute of that name."""
        names = {each.name for each in fields(cls)} - made.keys()  # type: ignore[arg-type]  # of subclasses
        taken = {name: found if name == "_found" else getattr(found, name) for name in names}
        for name in {"warnings", "unseen"} & names:
            taken[name] = tuple(map(in_python, taken[name]))
        return cls(**taken | made)

    @abstractmethod
    def _facts(self) -> Facts: ...

    def to_dict(self) -> dict[str, Any]:
        """The object that the command prints with ``--output json``; its texts are in the terms of Python."""
        return {key: _in_terms(value, getattr(self, key)) for key, value in self._facts().items()}


def _in_terms(value: Any, own: Any) -> Any:
    """Texts are those of the result; everything else is as on the command line."""
    if isinstance(value, str) and isinstance(own, str):
        return own
    if isinstance(value, list | tuple) and any(isinstance(each, str) for each in value):
        return [str(each) for each in own]
    return value


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def text(card: Card) -> str:
    lines = [card.title + (f"  [{card.state}]" if card.state else "")]
    width = max((len(row.name) for row in card.shown_rows), default=0)
    for row in card.shown_rows:
        link = f"  {row.link}" if row.link else ""
        lines.append(f"  {row.name:<{width}}  {row.value}{link}")
    lines += _table_lines(card)
    if card.files:
        lines.append(f"  {card.files} file{'s' if card.files != 1 else ''} change")
    lines += [f"  note: {note}" for note in card.notes]
    return printable("\n".join(lines))


def _table_lines(card: Card) -> list[str]:
    if not card.table:
        return []
    rows = [tuple(name.upper() for name in card.head), *card.table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def html(card: Card) -> str:
    """A card without external resources; its styles are inline, so that sanitizers keep them."""
    lines = [line for diff in card.diff for line in diff.splitlines()]
    page = template("card.html.j2", is_html=True, finalize=_printable).render(
        card=card,
        colour=_COLOURS.get(card.state.split(" ")[0], _GREY),
        diff=[(_kind(line), line) for line in lines[:_MOST_DIFF_LINES]],
        lines_left=max(len(lines) - _MOST_DIFF_LINES, 0),
    )
    return page.rstrip()


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "")


def _printable(value: object) -> object:
    return printable(value) if type(value) is str else value


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

    def _card(self) -> Card:
        state = "draft" if self.is_draft and self.state == "open" else self.state
        kind = "pull request" if self.number else "branch"
        return Card(
            title=self.title,
            state=state if self.number else "pushed",
            rows=(
                Row(kind, self.name, link=self.url),
                Row("branches", f"{self.head} → {self.base}"),
            ),
        )


def proposed_rows(proposed: Iterable[Proposed]) -> Iterator[Row]:
    """The pull requests that wait for their merge, with who proposed them."""
    for each in proposed:
        review = each.pull_request
        name = f"#{review.number} {review.title}" if review.number else review.head
        yield Row("proposed", f"{name}, by {each.author}", link=review.url)


def review_rows(review: PullRequest | None, commit: str | None) -> tuple[Row, ...]:
    if review is not None:
        kind = "pull request" if review.number else "branch"
        return (Row(kind, f"{review.name} {review.title}", link=review.url),)
    return (Row("commit", commit[:12] if commit else None),)


def example_rows(example: Example | None) -> tuple[Row, ...]:
    if example is None:
        return ()
    if example.why_not:
        return (Row("example", f"was not tried: {example.why_not}"),)
    return (
        Row("example", example.payload),
        Row("answer here", example.here),
        Row("packaged", example.packaged),
    )
