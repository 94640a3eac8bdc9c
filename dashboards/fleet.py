"""The dashboard of an environment: all APIs of a namespace. `bootstrap` inserts what is between two ``@``."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard

from dashboards.panels import (
    TAG,
    Panel,
    Section,
    add_sections,
    as_json,
    new_dashboard,
    rollout_markers,
)

PODS = 'namespace="@NAMESPACE@",app_kubernetes_io_name="predictor"'
API = "app_kubernetes_io_instance"
LEGEND = f"{{{{{API}}}}}"


def _rate(metric: str, *, by: str = API, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{PODS}{more}}}[$__rate_interval]))"


_REQUESTS = _rate("predictor_request_duration_seconds_count")
_READY = f"sum by ({API}) (predictor_model_ready{{{PODS}}})"

FLEET = Section(
    "runtime",
    "All APIs",
    (
        Panel(
            "Requests, the ten busiest",
            "reqps",
            ((f"topk(10, {_REQUESTS})", LEGEND),),
            is_stacked=True,
        ),
        Panel(
            "Failed requests",
            "percentunit",
            (
                (
                    _rate("predictor_requests_total", more=',code=~"5.."') + f" / {_REQUESTS} > 0",
                    LEGEND,
                ),
            ),
            "The share of requests that were answered with 500 or more.",
        ),
        Panel(
            "Latency p95, the ten slowest",
            "s",
            (
                (
                    "topk(10, histogram_quantile(0.95, "
                    + _rate("predictor_request_duration_seconds_bucket", by=f"{API}, le")
                    + "))",
                    LEGEND,
                ),
            ),
        ),
        Panel("Ready replicas", "short", ((_READY, LEGEND),), is_stacked=True),
        Panel(
            "Requests in progress",
            "short",
            ((f"topk(10, sum by ({API}) (predictor_requests_in_progress{{{PODS}}}))", LEGEND),),
        ),
        Panel("Refused requests", "reqps", ((_rate("predictor_rejected_total"), LEGEND),)),
        Panel(
            "Replicas without a request for an hour",
            "short",
            (
                (
                    f"{_READY} and on ({API}) sum by ({API}) "
                    f"(rate(predictor_request_duration_seconds_count{{{PODS}}}[1h])) == 0",
                    LEGEND,
                ),
            ),
            "They cost money and do nothing.",
        ),
        Panel(
            "Memory",
            "bytes",
            ((f"sum by ({API}) (process_resident_memory_bytes{{{PODS}}})", LEGEND),),
            is_stacked=True,
        ),
        Panel(
            "Firing alerts",
            "short",
            (
                (
                    'sum by (api, alertname) (ALERTS{namespace="@NAMESPACE@",alertname=~"Predictor.+",'
                    'alertstate="firing"}) or vector(0)',
                    "{{api}} {{alertname}}",
                ),
            ),
        ),
    ),
)


def fleet_dashboard() -> dict[str, Any]:
    """The dashboard of all APIs of an environment."""
    links = dashboard.DashboardLink("APIs").type("dashboards").tags([TAG, "@ENVIRONMENT@"])
    whole = new_dashboard(
        title="All APIs (@ENVIRONMENT@)",
        uid="@UID@",
        description="The prediction APIs of an environment. Written by gitops-ml.",
        tags=["@ENVIRONMENT@"],
    )
    whole = whole.link(links.as_dropdown(True).include_vars(True).keep_time(True))
    whole = whole.annotation(
        rollout_markers(
            f"count by ({API}, deployment_id) (predictor_info{{{PODS}}}) "
            f"unless count by ({API}, deployment_id) (predictor_info{{{PODS}}} offset 5m)",
            "Rollouts",
        )
    )
    add_sections(whole, [FLEET])
    return as_json(whole)
