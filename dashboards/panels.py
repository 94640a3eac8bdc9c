"""Panels as data, and their conversion with grafana-foundation-sdk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

if TYPE_CHECKING:
    from collections.abc import Iterable

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "gitops-ml"


@dataclass(frozen=True, slots=True)
class Panel:
    """Queries over time; ``queries`` are PromQL and the legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    text: str = ""
    is_stacked: bool = False
    is_signed: bool = False
    """Whether values may be below zero."""
    has_exemplars: bool = False
    """Whether requests are shown as dots, which lead to their logs and traces."""


@dataclass(frozen=True, slots=True)
class Section:
    """A row of panels. ``source`` is what has to be there for its queries to have an answer."""

    source: str
    title: str
    panels: tuple[Panel, ...]


def query(expr: str, legend: str, *, exemplars: bool) -> prometheus.Dataquery:
    """A query over time."""
    found = prometheus.Dataquery().expr(expr).legend_format(legend).range().datasource(PROMETHEUS)
    return found.exemplar(True) if exemplars else found


def graph(panel: Panel, *, span: int, height: int = 8) -> timeseries.Panel:
    """A panel with lines, or with stacked areas."""
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    found = (
        timeseries.Panel()
        .title(panel.title)
        .unit(panel.unit)
        .datasource(PROMETHEUS)
        .span(span)
        .height(height)
        .fill_opacity(35 if panel.is_stacked else 8)
        .line_width(1)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if not panel.is_signed:
        found = found.min(0)
    if panel.text:
        found = found.description(panel.text)
    if panel.is_stacked:
        found = found.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for letter, (expr, legend_format) in zip(ascii_uppercase, panel.queries, strict=False):
        asked = query(expr, legend_format, exemplars=panel.has_exemplars)
        found = found.with_target(asked.ref_id(letter))
    return found


def new_dashboard(
    *, title: str, uid: str, description: str, tags: list[str]
) -> dashboard.Dashboard:
    """A dashboard without panels."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, *tags])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )


def rollout_markers(expr: str, legend: str) -> dashboard.AnnotationQuery:
    """Vertical lines where a series of ``expr`` begins."""
    return (
        dashboard.AnnotationQuery()
        .name(legend)
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color("blue")
        .expr(expr)
    )


def as_json(whole: dashboard.Dashboard) -> dict[str, Any]:
    """The dashboard as plain data."""
    made: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(whole.build()))
    return made


def add_sections(whole: dashboard.Dashboard, sections: Iterable[Section]) -> dict[str, list[int]]:
    """Add a row for each section; the ids of its panels are returned by source."""
    ids: dict[str, list[int]] = {}
    for number, section in enumerate(sections):
        first = 100 * (number + 1)
        whole.with_row(dashboard.Row(section.title).id(first))
        span = 24 // min(3, len(section.panels))
        for index, panel in enumerate(section.panels, start=1):
            whole.with_panel(graph(panel, span=span).id(first + index))
        ids[section.source] = [*range(first, first + len(section.panels) + 1)]
    return ids
