"""A review for a terminal of 80 columns: lines, each with the action or severity that colours it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gitops_ml.errors import Problem
from gitops_ml.gitops.pull_request_body import field_lines
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.review import sentences
from gitops_ml.review.review import ReleaseReview, Review
from gitops_ml.system.clean_text import one_line

Line = tuple[str, str]
"""Text, and ``add``, ``modify``, ``delete``, ``error``, ``warning`` or nothing."""
WIDTH = 80
_MOST_DETAILED = 20
_MOST_FIELDS = 12
_POD = "spec.template.spec."
_SIGNS = {"add": "+", "delete": "-", "modify": "~"}


def terminal_lines(review: Review) -> Iterator[Line]:
    """What a person at a terminal reads."""
    yield from _wrapped(sentences.headline(review), "error" if review.errors else "")
    if text := sentences.cost_text(review.cost):
        yield from _wrapped(f"Cost of a month, fewest to most replicas: {text}")
    for text in filter(None, (sentences.unpriced_text(review), sentences.recorded_text(review))):
        yield from _wrapped(text)
    yield from _problems(review.errors)
    yield from _findings(review.broken)
    yield from _list("edit by hand that ends", review.hand_edits, "warning")
    for release in sorted(review.releases, key=sentences.urgency)[:_MOST_DETAILED]:
        yield "", ""
        yield from _release(release)
    if (more := len(review.releases) - _MOST_DETAILED) > 0:
        yield "", ""
        yield f"and {more} more releases: --output json has all of them", ""
    yield from _findings(each for each in review.all_findings if each.severity != "error")
    yield from _problems(each for each in review.problems if each.severity != "error")
    yield from _list("warning", review.warnings, "warning")
    steps = list(sentences.next_steps(review))
    if steps:
        yield "", ""
        yield "Next:", ""
        for number, step in enumerate(steps, 1):
            yield from _wrapped(step, lead=f"  {number}. ")


def _release(release: ReleaseReview) -> Iterator[Line]:
    title = f"{_SIGNS[release.action]} {release.api} in {release.environment}"
    yield title, release.action
    facts = [
        ("pods", sentences.rollout_text(release)),
        ("image", sentences.image_text(release)),
        ("GPUs", sentences.gpus_text(release) and f"{sentences.gpus_text(release)} at the peak"),
        ("cost", sentences.cost_text(release.cost)),
        ("why", sentences.why_text(release)),
    ]
    for name, text in facts:
        if text:
            yield from _wrapped(text, lead=f"  {name:<7}")
    lines = [line for each in release.fields for line in field_lines(each)]
    yield from _block("fields", lines)
    yield from _block("packages", [sentences.package_text(each) for each in release.packages])
    if release.action == "modify":
        yield from _block("files", [sentences.file_text(each) for each in release.files])
        yield from _block("objects", list(_objects(release)))


def _objects(release: ReleaseReview) -> Iterator[str]:
    for rated in release.objects:
        change = rated.change
        why = f", {rated.why}" if rated.why else ""
        yield f"{_SIGNS[change.action]} {change.kind}/{change.name}: {rated.risk} risk{why}"
        for field in change.fields:
            short = replace(field, path=field.path.replace(_POD, "pod."))
            yield from (f"  {line}" for line in field_lines(short))


def _block(title: str, lines: list[str]) -> Iterator[Line]:
    if not lines:
        return
    yield f"  {title}", ""
    for line in lines[:_MOST_FIELDS]:
        kind = {"+": "add", "-": "delete", "~": "modify"}.get(line.strip()[:1], "")
        yield one_line_of(f"    {line}"), kind
    if len(lines) > _MOST_FIELDS:
        yield f"    and {len(lines) - _MOST_FIELDS} more", ""


def one_line_of(text: str) -> str:
    """``text`` on one line of the terminal."""
    indent = text[: len(text) - len(text.lstrip())]
    return indent + one_line(text, most=WIDTH - len(indent))


def _problems(problems: Iterable[Problem]) -> Iterator[Line]:
    for each in problems:
        place = f"{each.file}:{each.line}:{each.column}" if each.line else each.file
        path = f"{each.path}: " if each.path else ""
        text = f"{place}{': ' if place else ''}{each.severity}: {path}{each.message} [{each.rule}]"
        yield from _wrapped(text, each.severity)


def _findings(findings: Iterable[RuleFinding]) -> Iterator[Line]:
    for finding, text in sentences.finding_texts(findings):
        place = f"{finding.file}:{finding.line}: " if finding.line else ""
        yield from _wrapped(f"{place}{finding.severity}: {text} [{finding.rule}]", finding.severity)


def _list(title: str, texts: Iterable[str], kind: str) -> Iterator[Line]:
    for text in texts:
        yield from _wrapped(f"{title}: {text}", kind)


def _wrapped(text: str, kind: str = "", *, lead: str = "") -> Iterator[Line]:
    lines = textwrap.wrap(
        one_line(text, most=2000),
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from ((line, kind) for line in lines or [lead])
