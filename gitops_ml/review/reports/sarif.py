"""SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure reads.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from gitops_ml._version import __version__
from gitops_ml.policy.rule import About
from gitops_ml.review.reports.placed_results import Result, described, results_of
from gitops_ml.review.review import Review

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_MOST_RESULTS = 5000
"""GitHub shows no more of a run."""


def sarif(review: Review) -> dict[str, Any]:
    """One run with all results, and the descriptions of their rules."""
    results = results_of(review)[:_MOST_RESULTS]
    rules = list(described(results))
    numbers = {rule: index for index, (rule, _) in enumerate(rules)}
    driver = {
        "name": "gitops-ml",
        "semanticVersion": __version__,
        "informationUri": "https://gitops-ml.dev",
        "rules": [_rule(name, about) for name, about in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, numbers[each.rule]) for each in results],
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
