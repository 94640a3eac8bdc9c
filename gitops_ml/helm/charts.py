"""The base charts of gitops-ml, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from gitops_ml.git.commits import RenderedFile
from gitops_ml.system.resources import resource_directory

_POD_VERSION = "gitops-ml.dev/pod-version"


def chart_path(name: str) -> Path:
    """The folder of a base chart, for Helm."""
    return resource_directory("charts") / name


def read_chart(name: str) -> Chart:
    """The chart ``name`` with all of its files, sorted by path."""
    root = chart_path(name)
    metadata = yaml.safe_load((root / "Chart.yaml").read_bytes())
    files = sorted(
        RenderedFile(path.relative_to(root).as_posix(), path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    pod_version = metadata["annotations"][_POD_VERSION]
    return Chart(metadata["name"], metadata["version"], pod_version, tuple(files))


@dataclass(frozen=True, slots=True)
class Chart:
    """A base chart; its files are relative to the chart's folder."""

    name: str
    version: str
    pod_version: str
    """Another one where the chart makes other pods of the same values."""
    files: tuple[RenderedFile, ...]
