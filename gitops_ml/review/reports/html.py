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
from typing import Any

from markupsafe import Markup

from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.gitops.differences import FieldChange
from gitops_ml.project.checks import SEVERITIES
from gitops_ml.release.monthly_cost import CostRange, money_range
from gitops_ml.review.headline import headline, urgency
from gitops_ml.review.reports.cost_chart import MOST_BARS, cost_charts
from gitops_ml.review.reports.replica_chart import Weeks, replica_chart, spoken
from gitops_ml.review.reports.text_rows import side_by_side
from gitops_ml.review.reports.topology import topology
from gitops_ml.review.review import RatedChange, ReleaseReview, Review, Side
from gitops_ml.review.sentences import finding_texts, image_text, size_text, unpriced_text
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
    found, details = weeks or {}, detailed(review)
    releases = sorted(review.releases, key=urgency)
    anchors = {release.directory: f"r{number}" for number, release in enumerate(details)}
    return page.render(
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=f"sha256-{digest}",
        project=review.project,
        headline=headline(review),
        base=review.base,
        head=review.head,
        numbers=list(_numbers(review)),
        problems=review.problems,
        findings=_findings(review),
        notes=list(map(_coded, (*review.hand_edits, *review.warnings))),
        is_many=len(review.releases) > MOST_BARS,
        rows=[_row(release, anchors) for release in releases[:_MOST_ROWS]],
        more_rows=max(0, len(review.releases) - _MOST_ROWS),
        releases=[
            _release(
                each, anchors[each.directory], found.get(each.directory), of=len(review.releases)
            )
            for each in details
        ],
        printed=min(len(details), _MOST_PRINTED),
        hidden=len(review.releases) - len(details),
        charts=cost_charts(review.releases),
        price_note=_price_note(review, tuple(prices)),
    )


def detailed(review: Review) -> tuple[ReleaseReview, ...]:
    """The releases that the page shows in detail, those to look at first; of very many, these only."""
    return tuple(sorted(review.releases, key=urgency)[:_MOST_DETAILED])


def _row(release: ReleaseReview, anchors: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "api": release.api,
        "environment": release.environment,
        "anchor": anchors.get(release.directory),
        "state": _STATES[release.action],
        "rollout": release.rollout,
        "image": image_text(release) or "–",
        "cost": _cost(release.cost),
    }


def _shown(value: object) -> object:
    """A value of the documents without characters that steer its display."""
    return value if isinstance(value, Markup) else printable(str(value))


def _numbers(review: Review) -> Iterator[Mapping[str, str]]:
    for action, label in _STATES.items():
        if found := len(review.of_action(action)):
            yield {
                "value": str(found),
                "label": f"{'releases' if found > 1 else 'release'} {label}",
            }
    restarts = sum(release.rollout.restarts for release in review.releases)
    yield {"value": str(restarts), "label": "whose pods restart or stop"}
    downtimes = sum(release.rollout.downtime for release in review.releases)
    yield {"value": str(downtimes), "label": "with downtime"}
    if review.cost and any(review.cost):
        yield {"value": _cost(review.cost), "label": "per month"}


def _findings(review: Review) -> list[Mapping[str, str]]:
    """What breaks rules, the most severe first; what breaks one in the same way is shown once."""
    found = sorted(finding_texts(review.all_findings), key=lambda each: _rank(each[0].severity))
    return [
        {"severity": finding.severity, "rule": finding.rule, "text": _coded(text)}
        for finding, text in found
    ]


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


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


def _release(
    release: ReleaseReview, anchor: str, weeks: Weeks | None, *, of: int
) -> Mapping[str, Any]:
    title = f"{release.api} in {release.environment}"
    shown = weeks.shown if weeks else None
    return {
        "api": release.api,
        "environment": release.environment,
        "anchor": anchor,
        "state": _STATES[release.action],
        "rollout": release.rollout,
        "is_open": of <= _OPEN,
        "is_alone": of == 1,
        "sentences": list(_sentences(release)),
        "fields": _fields(release.fields),
        "objects": [_object(rated) for rated in release.objects],
        "lists": list(_lists(release)),
        "topology": topology(release),
        "topology_caption": "From the route to the pods, "
        + ("before it is removed" if release.after is None else "after the change"),
        "chart": replica_chart(weeks, title=title) if weeks else None,
        "chart_words": spoken(shown) if shown else "",
        "rows": list(_differences(release)),
    }


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


def _fields(fields: Sequence[FieldChange]) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = [
        {
            "path": field.path,
            "before": "–" if field.action == "add" else _value(field.before),
            "after": "–" if field.action == "delete" else _value(field.after),
        }
        for field in fields[:_MOST_FIELDS]
    ]
    if rest := len(fields) - len(found):
        found.append({"path": f"… {rest} more", "before": "", "after": ""})
    return found


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _object(rated: RatedChange) -> Mapping[str, Any]:
    change = rated.change
    return {
        "name": f"{change.kind}/{change.name}",
        "action": _STATES.get(change.action, change.action),
        "risk": rated.risk,
        "why": rated.why,
        "fields": _fields(change.fields),
    }


def _lists(release: ReleaseReview) -> Iterator[Mapping[str, Any]]:
    if release.files:
        lines = [
            {
                "name": f.path,
                "text": _STATES.get(f.action, f.action)
                + (f", {size_text(f.size)}" if f.size else ""),
            }
            for f in release.files[:_MOST_FIELDS]
        ]
        yield {"title": f"Source files that change: {len(release.files)}", "lines": lines}
    if release.packages:
        lines = [
            {
                "name": p.name,
                "text": f"{p.before or '–'} → {p.after or '–'}"
                + "".join(f" · {a.id} {a.summary}" for a in p.advisories),
            }
            for p in release.packages[:_MOST_FIELDS]
        ]
        yield {"title": f"Locked packages that change: {len(release.packages)}", "lines": lines}


def _differences(release: ReleaseReview) -> Iterator[Mapping[str, Any]]:
    """The manifest and the values as text, before and after, where both are there."""
    if release.before is None or release.after is None:
        return
    for title, part in (("The manifest", "manifest"), ("The values of the chart", "values")):
        before, after = (_text(side, part) for side in (release.before, release.after))
        if rows := side_by_side(before, after):
            yield {"title": title, "rows": rows}


def _text(side: Side, part: str) -> str:
    try:
        return write_yaml(getattr(side, part))
    except TypeError:  # something that YAML for machines does not have
        return json.dumps(getattr(side, part), indent=2, sort_keys=True, default=str)
