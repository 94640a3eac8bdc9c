"""The formats of a review by their names, each as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gitops_ml.review.reports.annotations import annotation_lines
from gitops_ml.review.reports.code_quality import code_quality
from gitops_ml.review.reports.json_facts import review_facts
from gitops_ml.review.reports.junit import junit
from gitops_ml.review.reports.markdown_comment import comment
from gitops_ml.review.reports.sarif import sarif
from gitops_ml.review.review import Review


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


FORMATS: Mapping[str, Callable[[Review], str]] = {
    "sarif": lambda review: _json(sarif(review)),
    "junit": junit,
    "code-quality": lambda review: _json(code_quality(review)),
    "annotations": lambda review: "".join(f"{line}\n" for line in annotation_lines(review)),
    "markdown": comment,
    "json": lambda review: _json(review_facts(review)),
}
