"""A copy of a chart that renders many releases in one call of Helm's library.

Helm parses all templates of a chart at each render, which takes longer than to execute them. The copy has each
template as a named one, which Helm does not render by itself, and one more that includes them for each release.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_OWN_CONTEXT = re.compile(r"\.(?:Template|Subcharts)\b")
"""What a template finds out about itself, and what the copy does not have."""
_ALL = """\
{{- range $release := .Values.releases }}
{{- $context := dict "Values" .values "Release" .release "Chart" $.Chart }}
{{- $context = merge $context (dict "Files" $.Files "Capabilities" $.Capabilities) }}
{{- range $.Values.templates }}
{{ $.Values.mark }} {{ . }}
{{ include (printf "%s/templates/_%s" $.Chart.Name .) $context }}
{{- end }}
{{- end }}
"""


class WantedRelease(NamedTuple):
    """A release to render."""

    name: str
    namespace: str
    values: Mapping[str, Any]


def chart_for_many(chart: Path, copy: Path, *, without: Iterable[str]) -> bool:
    """Write the copy of a chart; false where its templates cannot be included by another one."""
    templates = chart / "templates"
    texts = [path.read_text("utf-8") for path in sorted(templates.rglob("*")) if path.is_file()]
    if any(map(_OWN_CONTEXT.search, texts)) or any(path.is_dir() for path in templates.iterdir()):
        return False
    shutil.copytree(chart, copy, ignore=shutil.ignore_patterns(*without))
    for path in sorted((copy / "templates").glob("*.yaml")):
        path.rename(path.with_name(f"_{path.name}"))
    (copy / "values.yaml").write_text("{}\n")
    (copy / "templates" / "all.yaml").write_text(_ALL)
    return True


def template_names(chart: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in (chart / "templates").glob("*.yaml")))


def values_of_many(
    releases: Iterable[WantedRelease], templates: Sequence[str], *, mark: str
) -> dict[str, Any]:
    """The values of the copy; those of a release are merged with the chart's defaults."""
    return {
        "mark": mark,
        "templates": list(templates),
        "releases": [
            {
                "values": each.values,
                "release": {
                    "Name": each.name,
                    "Namespace": each.namespace,
                    "Service": "Helm",
                    "Revision": 1,
                    "IsInstall": True,
                    "IsUpgrade": False,
                },
            }
            for each in releases
        ],
    }


def new_mark() -> str:
    """A line that no value of a release can have."""
    return f"# {secrets.token_hex(16)}"


def split_releases(
    text: str, templates: Sequence[str], *, mark: str
) -> list[list[tuple[str, str]]]:
    """For each release the name and the text of each template."""
    parts = [part.partition("\n") for part in text.split(f"{mark} ")[1:]]
    named = [(name, body) for name, _, body in parts]
    size = len(templates)
    return [named[at : at + size] for at in range(0, len(named), size)]
