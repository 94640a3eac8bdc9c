"""What a check found in the formats of programs, each as text: SARIF, JUnit, GitLab, GitHub, JSON; and Markdown."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from gitops_ml._version import __version__
from gitops_ml.documents.findings import dotted
from gitops_ml.errors import Problem
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.rule import About, RuleFinding
from gitops_ml.project.checks import SEVERITIES
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.review import Review
from gitops_ml.system.clean_text import one_line, printable

_PROJECT_FILE = "gitops-ml.yaml"
"""The place of what has none of its own: programs show nothing without a file."""
_LONGEST = 1000


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
    rank = (*SEVERITIES, result.severity).index(result.severity)
    return rank, result.file, result.line, result.rule, result.message


def _of_problem(problem: Problem) -> Result:
    message = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return Result(
        rule=problem.rule,
        severity=problem.severity,
        message=one_line(message, most=_LONGEST),
        file=printable(problem.file) or _PROJECT_FILE,
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
        file=printable(finding.file) or _PROJECT_FILE,
        line=max(1, finding.line),
        release=release,
        path=one_line(dotted(finding.path)),
    )


# -- SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure reads ---------------------------
# https://docs.oasis-open.org/sarif/sarif/v2.1.0/

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_MOST_RESULTS = 5000
"""GitHub shows no more of a run."""


def sarif(review: Review) -> dict[str, Any]:
    """One run with all results, and the descriptions of their rules."""
    results = results_of(review)[:_MOST_RESULTS]
    rules = sorted({result.rule for result in results})
    known = {rule.id: rule for rule in BUILT_IN}
    driver = {
        "name": "gitops-ml",
        "semanticVersion": __version__,
        "informationUri": "https://gitops-ml.dev",
        "rules": [_rule(name, known.get(name)) for name in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, rules.index(each.rule)) for each in results],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str, about: About | None) -> dict[str, Any]:
    if about is None:
        return {"id": name}
    return {
        "id": name,
        "shortDescription": {"text": f"{about.title}."},
        "fullDescription": {"text": about.reason},
        "help": {"text": f"{about.reason} Remedy: {about.remedy}."},
        "helpUri": about.page,
        "defaultConfiguration": {"level": about.severity},
    }


def _result(result: Result, number: int) -> dict[str, Any]:
    region = {"startLine": result.line, "startColumn": result.column}
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(result.file)}, "region": region}
    }
    if result.release:
        location["logicalLocations"] = [{"fullyQualifiedName": result.release, "kind": "resource"}]
    return {
        "ruleId": result.rule,
        "ruleIndex": number,
        "level": result.severity,
        "message": {"text": result.message},
        "locations": [location],
        "partialFingerprints": {"gitopsMlFinding/v1": result.fingerprint},
    }


# -- JUnit XML: a test case for each release, and one for each result -----------------------------
# Readers differ in what they take. This is what all of them do: the schema `junit-10.xsd` of Jenkins' xUnit plugin,
# which refuses attributes that it does not know, that of Maven Surefire, and GitLab, which shows one case of each name.


def junit(review: Review) -> str:
    """Errors are failures; warnings and notes are cases that pass, with their text as output."""
    results = results_of(review)
    failing = {each.release for each in results if each.severity == "error"}
    releases = sorted(f"{each.environment}/{each.api}" for each in review.releases)
    passing = [name for name in releases if name not in failing]
    tests, failures = len(results) + len(passing), sum(e.severity == "error" for e in results)
    counts = {"tests": str(tests), "failures": str(failures), "errors": "0", "time": "0"}
    root = ElementTree.Element("testsuites", {"name": "gitops-ml check", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": review.project, **counts, "skipped": "0"}
    )
    for name in passing:
        _case(suite, _classname(name), "keeps every rule of severity error")
    known: Counter[tuple[str, str]] = Counter()
    for result in results:
        _add(suite, result, known)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time="0")


def _classname(place: str) -> str:
    return place.replace(".", "_").replace("/", ".")


def _add(suite: ElementTree.Element, result: Result, known: Counter[tuple[str, str]]) -> None:
    classname = _classname(result.release or result.file)
    name = f"{result.rule}: {result.path}".rstrip(": ")
    known[classname, name] += 1
    count = known[classname, name]
    case = _case(suite, classname, f"{name} ({count})" if count > 1 else name)
    text = _harmless(f"{result.file}:{result.line}: {result.message}")
    if result.severity == "error":
        message = _harmless(result.message)
        ElementTree.SubElement(case, "failure", message=message, type=result.rule).text = text
    else:
        ElementTree.SubElement(case, "system-out").text = f"{result.severity}: {text}"


def _harmless(text: str) -> str:
    """Jenkins and GitLab attach the file that `[[ATTACHMENT|path]]` in an output names."""
    return text.replace("[[", "[ [")


# -- GitLab's code quality report, which merge requests show: https://docs.gitlab.com/ci/testing/code_quality/ --

_SEVERITIES = {"error": "critical", "warning": "minor"}


def code_quality(review: Review) -> list[dict[str, Any]]:
    """One entry for each result; GitLab compares the fingerprints of two branches."""
    return [
        {
            "description": result.message,
            "check_name": result.rule,
            "fingerprint": result.fingerprint,
            "severity": _SEVERITIES.get(result.severity, "info"),
            "location": {"path": result.file, "lines": {"begin": result.line}},
        }
        for result in results_of(review)
    ]


# -- GitHub's workflow commands, which annotate lines of a pull request ---------------------------


def github_annotations(review: Review) -> str:
    """One line for each result. GitHub shows the first ten errors and ten warnings of a step."""
    return "".join(
        workflow_command(
            each.severity, each.message,
            title=f"gitops-ml {each.rule}", place=(each.file, each.line, each.column),
        ) + "\n"
        for each in results_of(review)
    )  # fmt: skip


def workflow_command(
    severity: str, message: str, *, title: str, place: tuple[str, int, int]
) -> str:
    """A command that annotates a line.

    See "Workflow commands for GitHub Actions": properties escape ``% CR LF : ,``, data ``% CR LF``.
    """
    file, line, column = place
    words = {"file": file, "line": line or 1, "col": column or 1, "title": title}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in words.items())
    level = severity if severity in ("error", "warning") else "notice"
    return f"::{level} {properties}::{_escaped(message, '')}"


def _escaped(text: str, more: str) -> str:
    text = printable(text)
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


FORMATS: Mapping[str, Callable[[Review], str]] = {
    "sarif": lambda review: _json(sarif(review)),
    "junit": junit,
    "code-quality": lambda review: _json(code_quality(review)),
    "annotations": github_annotations,
    "markdown": comment,
    "json": lambda review: _json(review_facts(review)),
}
