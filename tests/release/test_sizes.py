"""What no API server stores, or no process can be given, is refused; what is a byte less is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifest_parts import IMAGE
from tests.support.pipeline import api, errors_of

NOTES = {f"b.example/k{n}": "é" * 2_100 for n in range(64)}
"""268,864 bytes, of which Kubernetes allows 262,144."""


@pytest.mark.parametrize(
    ("words", "path", "reason"),
    [
        ({"annotations": NOTES}, "annotations", "annotations of an object"),
        ({"pod_annotations": NOTES}, "pod_annotations", "annotations of an object"),
        (
            {"service_account": {"annotations": NOTES}},
            "service_account.annotations",
            "annotations of an object",
        ),
        (
            {"predictor": {"config": {"a": ["x" * 500_000, "y" * 600_000]}}},
            "predictor.config",
            "settings of the runtime",
        ),
        ({"predictor": {"config": {"a": "<" * 200_000}}}, "predictor.config", "settings of the"),
        ({"predictor": {"config": {"a": [1.0, "x" * 1_100_000]}}}, "predictor.config", "settings"),
        (
            {"predictor": {"env": {f"K{n}": "x" * 100_000 for n in range(11)}}},
            "predictor",
            "fields of the pods",
        ),
        ({"predictor": {"env": {"A": "x" * 131_070}}}, "predictor.env.A", "Linux starts no"),
        ({"container": {"image": IMAGE, "args": ["x" * 131_072]}}, "container.args.0", "Linux"),
        ({"container": {"image": f"a/{'b' * 254}:1"}}, "container.image", "256 characters"),
    ],
)
def test_what_is_too_large_is_refused(words: dict[str, Any], path: str, reason: str) -> None:
    found = errors_of(api(**words))
    assert {".".join(map(str, each.path)) for each in found} == {path}
    assert all(reason in each.message for each in found)


@pytest.mark.parametrize(
    "words",
    [
        {"annotations": {**NOTES, "b.example/k0": "", "b.example/k1": "", "b.example/k2": ""}},
        {"predictor": {"config": {"a": "x" * 1_000_000}}},
        {"predictor": {"env": {"A": "x" * 131_069}}},
        {"container": {"image": f"a/{'b' * 253}:1"}},
    ],
)
def test_what_fits_is_not(words: dict[str, Any]) -> None:
    assert not list(errors_of(api(**words)))
