"""GitLab's code quality report, which merge requests show: https://docs.gitlab.com/ci/testing/code_quality/."""

from __future__ import annotations

from typing import Any

from gitops_ml.review.reports.placed_results import results_of
from gitops_ml.review.review import Review

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
