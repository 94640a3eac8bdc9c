"""A review as the comment on a pull request, in Markdown, within the size that a forge takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from gitops_ml.documents.findings import few
from gitops_ml.documents.markdown import block, cell, code, escaped
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.errors import Problem
from gitops_ml.gitops.pull_request_body import LONGEST_BODY, field_lines
from gitops_ml.policy.rule import RuleFinding
from gitops_ml.review import sentences
from gitops_ml.review.review import ReleaseReview, Review
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.resources import template

_SIZES = (40, 20, 10, 5, 2)
"""How many rows and lines of a list are tried, until what has to be shown fits."""
_MOST_LINES = 60
_MOST_COMPARED = 300
_LONGEST_LINE = 400
_SIGNS = {"add": "+", "modify": "~", "delete": "−"}
_QUOTED = re.compile(r"`[^`]+`")


def comment(review: Review, *, limit: int = LONGEST_BODY) -> str:
    """The comment, of at most ``limit`` characters."""
    text = template("check.md.j2", escaped=escaped)
    details = [_detail(alike) for alike in _groups(review.releases)]
    for most in _SIZES:
        render = partial(text.render, **_facts(review, most))
        room = limit - len(render(details=[], hidden=0)) - 300
        if room > 0:
            break
    sizes = accumulate(len(each["text"]) + 2 for each in details)
    shown = sum(size <= room for size in sizes)
    hidden = max(0, len(review.releases) - _MOST_COMPARED)
    hidden += sum(each["count"] for each in details[shown:])
    body = render(details=details[:shown], hidden=hidden).strip() + "\n"
    return body if len(body) <= limit else f"{body[: limit - 2]}…\n"


def _facts(review: Review, most: int) -> dict[str, Any]:
    rows = sorted(review.releases, key=sentences.urgency)
    return {
        "headline": sentences.headline(review),
        "notes": list(_notes(review)),
        "lists": [
            (t, lines[:most], max(0, len(lines) - most)) for t, lines in _lists(review) if lines
        ],
        "rows": [_row(release) for release in rows[:most]],
        "more_rows": max(0, len(rows) - most),
        "steps": [_prose(text) for text in sentences.next_steps(review)],
        "base_ref": one_line(review.base.label, most=100),
        "footer": _footer(review),
    }


def _notes(review: Review) -> Iterator[str]:
    if text := sentences.cost_text(review.cost):
        yield f"Cost of a month, at the fewest to the most replicas: {escaped(text)}."
    for text in filter(None, (sentences.unpriced_text(review), sentences.recorded_text(review))):
        yield escaped(text)


def _lists(review: Review) -> Iterator[tuple[str, list[str]]]:
    yield "Errors in the documents", [_problem(each) for each in review.errors]
    found = list(sentences.finding_texts(review.all_findings))
    yield "Rules that this breaks", [_finding(*f) for f in found if f[0].severity == "error"]
    yield (
        "Edits by hand in the GitOps repository that the merge would undo",
        [_prose(each) for each in review.hand_edits],
    )
    lines = [_finding(*f) for f in found if f[0].severity != "error"]
    lines += [_problem(each) for each in review.problems if each.severity != "error"]
    lines += [_prose(each) for each in review.warnings]
    yield "Warnings", list(dict.fromkeys(lines))


def _problem(problem: Problem) -> str:
    path = f"{problem.path}: " if problem.path else ""
    return _placed(problem, _prose(path + problem.message))


def _finding(finding: RuleFinding, text: str) -> str:
    severity = "" if finding.severity in ("error", "warning") else f"{finding.severity}: "
    return _placed(finding, f"{severity}{_prose(text)}")


def _placed(found: Problem | RuleFinding, text: str) -> str:
    place = f"{found.file}:{found.line}" if found.line else found.file
    lead = f"{code(one_line(place, most=150))} " if place else ""
    return f"{lead}{text} ({code(found.rule)})"


def _row(release: ReleaseReview) -> list[str]:
    name = f"{cell(release.api)} in {cell(release.environment)}"
    texts = (
        sentences.rollout_text(release),
        sentences.image_text(release),
        sentences.gpus_text(release),
    )
    cost = sentences.cost_text(release.cost)
    cells = [escaped(text) or "–" for text in (*texts, cost)]
    return [_SIGNS[release.action], name, *cells]


def _prose(text: str) -> str:
    """A sentence, with what is between backticks as code."""
    parts = re.split(r"(`[^`]+`)", one_line(text, most=_LONGEST_LINE))
    return "".join(code(part[1:-1]) if _QUOTED.fullmatch(part) else _spaced(part) for part in parts)


def _spaced(part: str) -> str:
    """`escaped` drops the spaces at the ends."""
    lead = " " if part.startswith(" ") else ""
    return f"{lead}{escaped(part)}{' ' if part.strip() and part.endswith(' ') else ''}"


def _footer(review: Review) -> str:
    base, head = review.base, review.head
    commits = [f"{code(base.label)} ({code(str(base.commit)[:12])})", code(head.label)]
    dirty = " with uncommitted files" if head.is_dirty else ""
    if head.commit:
        commits[1] += f" ({code(head.commit[:12])}{dirty})"
    return (
        f"<sub>{commits[0]} compared with {commits[1]}; nothing of the change was executed.</sub>"
    )


# -- details ---------------------------------------------------------------------------------------


def _groups(releases: Sequence[ReleaseReview]) -> list[list[ReleaseReview]]:
    """The releases that change alike but for their names, in the order of the table."""
    groups: dict[object, list[ReleaseReview]] = {}
    for release in sorted(releases, key=sentences.urgency)[:_MOST_COMPARED]:
        if sections := tuple(each.replace(release.api, "*") for each in _sections(release)):
            groups.setdefault((release.action, sections), []).append(release)
    return list(groups.values())


def _detail(alike: Sequence[ReleaseReview]) -> dict[str, Any]:
    title = escaped(few([f"{each.api} in {each.environment}" for each in alike], 5))
    title = title.replace("\\", "")  # HTML has no such escapes
    body = "\n\n".join(_sections(alike[0]))
    text = f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
    return {"text": text, "count": len(alike)}


def _sections(release: ReleaseReview) -> Iterator[str]:
    if why := sentences.why_text(release):
        yield f"Why: {_prose(why)}."
    if lines := _manifest_lines(release):
        yield f"Manifest:\n\n{block(_cut(lines), 'yaml' if release.action == 'add' else 'diff')}"
    if release.packages:
        yield _bullets("Packages", (sentences.package_text(each) for each in release.packages))
    if release.files and release.action == "modify":
        yield _bullets("Files", (sentences.file_text(each) for each in release.files))
    if release.objects and release.action == "modify":
        yield f"Kubernetes objects, the highest risk first:\n\n{block(_cut(_objects(release)), 'diff')}"


def _manifest_lines(release: ReleaseReview) -> list[str]:
    """What the manifest says of the release; a line for each field that changes."""
    if release.action == "add" and release.after:
        return write_yaml(dict(release.after.manifest)).splitlines()
    return [line for each in release.fields for line in field_lines(each)]


def _objects(release: ReleaseReview) -> list[str]:
    lines = []
    for rated in release.objects:
        change = rated.change
        sign = {"add": "+", "delete": "-", "modify": " "}[change.action]
        why = f", {rated.why}" if rated.why else ""
        lines.append(f"{sign} {change.kind}/{change.name} ({rated.risk} risk{why})")
        lines += [line for field in change.fields for line in field_lines(field)]
    return lines


def _bullets(title: str, texts: Iterable[str]) -> str:
    lines = [f"* {code(one_line(text, most=_LONGEST_LINE))}" for text in texts]
    more = [f"* … and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join([f"{title}:\n", *lines[:_MOST_LINES], *more])


def _cut(lines: list[str]) -> str:
    more = [f"# and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([*(_short_line(line) for line in lines[:_MOST_LINES]), *more])


def _short_line(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
