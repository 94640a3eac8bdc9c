"""A chart version is immutable in every GitOps repository, so changed content needs a new version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"
CONTENT = {
    "predictor": ("0.2.0", "53cca0e26df584e5605cef4a0d8452ff2fd595e4f551c3fd2404a1b40700e0e6"),
    "preview": ("0.2.0", "d8ef1712162dbffadd3d4d0b6b8c1068ef85b911fd9a4d5cbb132193c502a526"),
}
"""The version of each chart, and the sha256 of its files: both change together."""


@pytest.mark.parametrize("name", sorted(path.name for path in CHARTS.iterdir()))
def test_a_chart_with_other_content_has_another_version(name: str) -> None:
    chart = CHARTS / name
    found = hashlib.sha256()
    for file in sorted(path for path in chart.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(chart)}\0".encode() + file.read_bytes() + b"\0")
    version = yaml.safe_load((chart / "Chart.yaml").read_text())["version"]
    assert (version, found.hexdigest()) == CONTENT[name], (
        "raise the version in Chart.yaml where a released version has other content, and write both here"
    )
