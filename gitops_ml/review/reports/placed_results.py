"""What a check found, as a flat list for programs: problems of documents, and rules that are broken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from gitops_ml.documents.findings import dotted
from gitops_ml.errors import Problem
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.rule import About, RuleFinding
from gitops_ml.review.review import Review
from gitops_ml.system.clean_text import one_line, printable

PROJECT_FILE = "gitops-ml.yaml"
"""The place of what has none of its own: programs show nothing without a file."""
_LONGEST = 1000
_ORDER = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One thing that was found."""

    rule: str
    severity: str
    message: str
    """One line, with the remedy."""
    file: str
    """Relative to the source repository."""
    line: int
    """From 1."""
    column: int = 1
    release: str = ""
    """``production/iris``; empty where it is about documents or several releases."""
    path: str = ""
    """Of the field."""
    number: int = 0
    """How many results before it differ from it in their place only."""

    @property
    def fingerprint(self) -> str:
        """The same for the same finding, although lines above it were added or removed."""
        number = [str(self.number)] if self.number else []
        facts = (self.rule, self.release, self.file, self.path, self.message, *number)
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def results_of(review: Review) -> tuple[Result, ...]:
    """Errors first, then by file and line; each once."""
    found = (*map(_of_problem, review.problems), *map(_of_finding, review.all_findings))
    return tuple(_numbered(sorted(dict.fromkeys(found), key=_place)))


def _numbered(results: Iterable[Result]) -> Iterator[Result]:
    """The results with numbers where their fingerprints would be equal: a program would show one of them."""
    counts: Counter[str] = Counter()
    for each in results:
        yield replace(each, number=counts[each.fingerprint])
        counts[each.fingerprint] += 1


def _place(result: Result) -> tuple[int, str, int, str, str]:
    rank = _ORDER.index(result.severity) if result.severity in _ORDER else len(_ORDER)
    return rank, result.file, result.line, result.rule, result.message


def _of_problem(problem: Problem) -> Result:
    message = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return Result(
        rule=problem.rule,
        severity=problem.severity,
        message=one_line(message, most=_LONGEST),
        file=printable(problem.file) or PROJECT_FILE,
        line=max(1, problem.line),
        column=max(1, problem.column),
        path=one_line(problem.path),
    )


def _of_finding(finding: RuleFinding) -> Result:
    release = "/".join(part for part in (finding.environment, finding.api) if part)
    text = f"{finding.message}; {finding.remedy}" if finding.remedy else finding.message
    where = " in ".join(part for part in (finding.api, finding.environment) if part)
    return Result(
        rule=finding.rule,
        severity=finding.severity,
        message=one_line(f"{where}: {text}" if where else text, most=_LONGEST),
        file=printable(finding.file) or PROJECT_FILE,
        line=max(1, finding.line),
        release=release,
        path=one_line(dotted(finding.path)),
    )


@cache
def _descriptions() -> Mapping[str, About]:
    return {rule.id: rule for rule in BUILT_IN}


def described(results: tuple[Result, ...]) -> Iterator[tuple[str, About | None]]:
    """Each rule of the results once, with its description where it is one of ours."""
    for rule in sorted({result.rule for result in results}):
        yield rule, _descriptions().get(rule)
