"""The page of a check: one file, without scripts and without anything from elsewhere.

All words of the documents are escaped by the template, and by `svg` within pictures. The page's own policy
(CSP) allows its one style sheet and nothing else, so that words that got through would have no effect.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.project.checks import SEVERITIES
from gitops_ml.release.monthly_cost import CostRange, money_range
from gitops_ml.review.reports.page_charts import (
    MOST_BARS,
    Weeks,
    cost_charts,
    replica_chart,
    spoken,
)
from gitops_ml.review.reports.topology import topology
from gitops_ml.review.review import ReleaseReview, Review, Side
from gitops_ml.review.sentences import (
    finding_texts,
    headline,
    image_text,
    size_text,
    unpriced_text,
    urgency,
)
from gitops_ml.system.clean_text import printable
from gitops_ml.system.resources import template

_OPEN = 5
"""Releases that are shown with all their details at first."""
_MOST_PRINTED = 20
"""Releases whose details are on paper as well, where they are not open: one takes about two pages."""
_MOST_FIELDS = 100
_MOST_DETAILED, _MOST_ROWS = 300, 2000
"""Releases with pictures and differences, and rows of the table; a browser has to show them."""
_LONGEST_VALUE = 2000
_STATES = {"add": "added", "modify": "changed", "delete": "removed"}


def html_page(
    review: Review,
    *,
    weeks: Mapping[str, Weeks] | None = None,
    prices: Iterable[str] = (),
) -> str:
    """The page; ``weeks`` are the replicas of releases over time, by directory, and ``prices`` their sources."""
    style = template("review.css.j2").render()
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = template("review.html.j2", is_html=True, finalize=_shown)
    details, count = detailed(review), len(review.releases)
    return page.render(
        review=review,
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=f"sha256-{digest}",
        headline=headline(review),
        numbers=list(_numbers(review)),
        findings=sorted(finding_texts(review.all_findings), key=_rank),
        notes=(*review.hand_edits, *review.warnings),
        anchors={release.directory: f"r{number}" for number, release in enumerate(details)},
        rows=sorted(review.releases, key=urgency)[:_MOST_ROWS],
        more_rows=max(0, count - _MOST_ROWS),
        details=details,
        printed=min(len(details), _MOST_PRINTED),
        hidden=count - len(details),
        is_many=count > MOST_BARS,
        is_open=count <= _OPEN,
        is_alone=count == 1,
        weeks=weeks or {},
        charts=cost_charts(review.releases),
        price_note=_price_note(review, tuple(prices)),
        states=_STATES,
        **_PARTS,
    )


def detailed(review: Review) -> tuple[ReleaseReview, ...]:
    """The releases that the page shows in detail, those to look at first; of very many, these only."""
    return tuple(sorted(review.releases, key=urgency)[:_MOST_DETAILED])


def _shown(value: object) -> object:
    """A value of the documents without characters that steer its display."""
    return value if isinstance(value, Markup) else printable(str(value))


def _numbers(review: Review) -> Iterator[tuple[str, str]]:
    for action, label in _STATES.items():
        if found := sum(release.action == action for release in review.releases):
            yield str(found), f"{'releases' if found > 1 else 'release'} {label}"
    restarts = sum(release.rollout.restarts for release in review.releases)
    yield str(restarts), "whose pods restart or stop"
    downtimes = sum(release.rollout.downtime for release in review.releases)
    yield str(downtimes), "with downtime"
    if review.cost and any(review.cost):
        yield _cost(review.cost), "per month"


def _rank(found: tuple[RuleFinding, str]) -> int:
    severity = found[0].severity
    return (*SEVERITIES, severity).index(severity)


def _coded(text: str) -> Markup:
    """A sentence, with what is between backticks as code."""
    parts = re.split(r"`([^`]+)`", printable(text))
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(p) if at % 2 else p for at, p in enumerate(parts))


def _cost(cost: tuple[CostRange | None, CostRange | None] | None) -> str:
    if cost is None or not any(cost):
        return "–"
    before, after = (money_range(*c.paid, c.currency) if c else None for c in cost)
    if before is None or after is None or before == after:
        return after or f"{before} → –"
    return f"{before} → {after}"


def _price_note(review: Review, prices: tuple[str, ...]) -> str:
    if not any(release.cost for release in review.releases):
        return unpriced_text(review)
    sources = f" Presets: {'; '.join(prices)}." if prices else ""
    how = "Costs are the requests of all replicas for 730 hours, at the prices of the project file."
    return f"{how}{sources} {unpriced_text(review)}".strip()


def _sentences(release: ReleaseReview) -> Iterator[str]:
    for why in filter(None, release.rollout.why):
        yield f"{why[0].upper()}{why[1:].removesuffix('.')}."
    if release.image and release.image.rebuilt and release.image.why:
        yield f"The image is built again: {', '.join(release.image.why)}."
    rollout = release.rollout
    if rollout.gpus_at_peak:
        of = f" of {rollout.quota}" if rollout.quota is not None else ""
        yield f"At most {rollout.gpus_at_peak}{of} GPUs of the class {rollout.gpu_class} during the update."
    for cost in release.cost[1:] if release.cost else ():
        if cost is not None:
            spot = money_range(cost.spot_low, cost.spot_high, cost.currency)
            demand = money_range(cost.low, cost.high, cost.currency)
            here = "spot nodes" if cost.is_spot else "nodes on demand"
            yield f"{demand} per month on demand, {spot} on spot nodes; it runs on {here}."


def _fields(fields: Sequence[FieldChange]) -> Iterator[tuple[str, str, str]]:
    for field in fields[:_MOST_FIELDS]:
        before = "–" if field.action == "add" else _value(field.before)
        yield field.path, before, "–" if field.action == "delete" else _value(field.after)
    if (rest := len(fields) - _MOST_FIELDS) > 0:
        yield f"… {rest} more", "", ""


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _lists(release: ReleaseReview) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if release.files:
        files = [
            (f.path, _STATES.get(f.action, f.action) + (f", {size_text(f.size)}" if f.size else ""))
            for f in release.files[:_MOST_FIELDS]
        ]
        yield f"Source files that change: {len(release.files)}", files
    if release.packages:
        packages = [
            (
                p.name,
                f"{p.before or '–'} → {p.after or '–'}"
                + "".join(f" · {a.id} {a.summary}" for a in p.advisories),
            )
            for p in release.packages[:_MOST_FIELDS]
        ]
        yield f"Locked packages that change: {len(release.packages)}", packages


def _differences(release: ReleaseReview) -> list[tuple[str, tuple[Row, ...]]]:
    """The manifest and the values as text, before and after, where both are there."""
    if release.before is None or release.after is None:
        return []
    found = []
    for title, part in (("The manifest", "manifest"), ("The values of the chart", "values")):
        before, after = (_text(side, part) for side in (release.before, release.after))
        if rows := side_by_side(before, after):
            found.append((title, rows))
    return found


def _text(side: Side, part: str) -> str:
    try:
        return write_yaml(getattr(side, part))
    except TypeError:  # something that YAML for machines does not have
        return json.dumps(getattr(side, part), indent=2, sort_keys=True, default=str)


# -- two texts side by side: the lines that differ, with the lines around them ---------------------

_CONTEXT = 3
MOST_ROWS = 300


@dataclass(frozen=True, slots=True)
class Row:
    """A line before and after; ``kind`` is ``same``, ``changed``, ``added``, ``removed`` or ``gap``."""

    kind: str
    number_before: int | None = None
    before: str = ""
    number_after: int | None = None
    after: str = ""


def side_by_side(before: str, after: str) -> tuple[Row, ...]:
    """The rows; beyond a limit, the rest is counted in a last one."""
    old, new = before.splitlines(), after.splitlines()
    rows = list(_rows(old, new))
    if len(rows) > MOST_ROWS:
        rest = len(rows) - MOST_ROWS
        rows = [*rows[:MOST_ROWS], Row("gap", before=f"… {rest} more lines")]
    return tuple(rows)


def _rows(old: list[str], new: list[str]) -> Iterator[Row]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for index, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if index:
            yield Row("gap", before="…")
        for kind, first_old, last_old, first_new, last_new in group:
            left = range(first_old, last_old)
            right = range(first_new, last_new)
            for a, b in zip_longest(left, right):
                yield _line(kind, a, b, old, new)


def _line(kind: str, a: int | None, b: int | None, old: list[str], new: list[str]) -> Row:
    shown = "same" if kind == "equal" else "changed"
    return Row(
        "added" if a is None else "removed" if b is None else shown,
        None if a is None else a + 1,
        "" if a is None else old[a],
        None if b is None else b + 1,
        "" if b is None else new[b],
    )


_PARTS: Mapping[str, Any] = {
    "coded": _coded,
    "cost": _cost,
    "image_text": image_text,
    "sentences": _sentences,
    "fields": _fields,
    "topology": topology,
    "replica_chart": replica_chart,
    "spoken": spoken,
    "lists": _lists,
    "differences": _differences,
}
"""What the template calls."""
