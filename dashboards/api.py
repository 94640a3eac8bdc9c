"""The dashboard of one API. The chart inserts what is between two ``@``, and leaves out sections without a source."""

from __future__ import annotations

from typing import Any

from dashboards.panels import (
    Panel,
    Section,
    add_sections,
    as_json,
    new_dashboard,
    rollout_markers,
)

PODS = 'namespace="@NAMESPACE@",app_kubernetes_io_instance="@RELEASE@"'
RECORDED = 'namespace="@NAMESPACE@",api="@API@"'
DEPLOYMENT = 'namespace="@NAMESPACE@",deployment="@RELEASE@"'
POD_NAMES = 'pod=~"@RELEASE@-[a-z0-9]+-[a-z0-9]{5}"'


def _rate(metric: str, *, by: str = "", more: str = "") -> str:
    clause = f" by ({by})" if by else ""
    return f"sum{clause} (rate({metric}{{{PODS}{more}}}[$__rate_interval]))"


def _quantiles(metric: str, *quantiles: float, more: str = "") -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"histogram_quantile({each}, {_rate(f'{metric}_bucket', by='le', more=more)})",
            f"p{each * 100:.0f}",
        )
        for each in quantiles
    )


def _pods(metric: str, *, function: str = "{}") -> str:
    return f"sum by (pod) ({function.format(f'{metric}{{{PODS}}}')})"


_REQUESTS = _rate("predictor_request_duration_seconds_count")
_FAILED = _rate("predictor_requests_total", more=',code=~"5.."')
_READY = f"sum(predictor_model_ready{{{PODS}}})"

RUNTIME = Section(
    "runtime",
    "Traffic",
    (
        Panel(
            "Requests by status",
            "reqps",
            ((_rate("predictor_requests_total", by="code"), "{{code}}"),),
            is_stacked=True,
        ),
        Panel(
            "Failed requests",
            "percentunit",
            ((f"({_FAILED} or {_REQUESTS} * 0) / {_REQUESTS}", "5xx"),),
            "The share of requests that were answered with 500 or more.",
        ),
        Panel(
            "Latency",
            "s",
            _quantiles("predictor_request_duration_seconds", 0.5, 0.95, 0.99),
            "The dots are requests, where Prometheus keeps exemplars.",
            has_exemplars=True,
        ),
        Panel(
            "Requests in progress",
            "short",
            (
                (f"sum(predictor_requests_in_progress{{{PODS}}})", "in progress"),
                (f"@TARGET@ * {_READY}", "target"),
            ),
            "Where it is above the target, the autoscaler adds replicas.",
        ),
        Panel(
            "Requests waiting",
            "short",
            ((f"sum(predictor_queue_depth{{{PODS}}})", "in the queue"),),
        ),
        Panel(
            "Refused requests",
            "reqps",
            ((_rate("predictor_rejected_total", by="reason") + " or vector(0)", "{{reason}}"),),
        ),
        Panel(
            "Time of the stages, p95",
            "s",
            (
                (
                    "histogram_quantile(0.95, "
                    + _rate("predictor_stage_duration_seconds_bucket", by="le, stage")
                    + ")",
                    "{{stage}}",
                ),
                (_quantiles("predictor_queue_wait_seconds", 0.95)[0][0], "wait"),
            ),
        ),
        Panel(
            "Batch size",
            "short",
            (
                (
                    _rate("predictor_batch_size_sum") + " / " + _rate("predictor_batch_size_count"),
                    "average",
                ),
            ),
            "Requests in one call of predict, with server_side_batching.",
        ),
        Panel(
            "Replicas by deployment",
            "short",
            ((f"count by (deployment_id) (predictor_info{{{PODS}}})", "{{deployment_id}}"),),
            is_stacked=True,
        ),
        Panel("Ready replicas", "short", ((_READY, "ready"),)),
        Panel(
            "CPU",
            "short",
            (
                (
                    _pods("process_cpu_seconds_total", function="rate({}[$__rate_interval])"),
                    "{{pod}}",
                ),
            ),
        ),
        Panel("Memory", "bytes", ((_pods("process_resident_memory_bytes"), "{{pod}}"),)),
    ),
)
CLASSES = Section(
    "classification",
    "Predictions",
    (
        Panel(
            "Predictions by class",
            "short",
            (
                (
                    _rate("predictor_predictions_total", by="deployment_id, class"),
                    "{{class}} {{deployment_id}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Share of each class",
            "percentunit",
            (
                (
                    _rate("predictor_predictions_total", by="deployment_id, class")
                    + " / on (deployment_id) group_left () "
                    + _rate("predictor_predictions_total", by="deployment_id"),
                    "{{class}} {{deployment_id}}",
                ),
            ),
        ),
    ),
)
VALUES = Section(
    "regression",
    "Predictions",
    (
        Panel(
            "Predicted values",
            "short",
            tuple(
                (
                    f"histogram_quantile({each}, "
                    + _rate("predictor_prediction_value_bucket", by="le, deployment_id")
                    + ")",
                    f"p{each * 100:.0f} {{{{deployment_id}}}}",
                )
                for each in (0.1, 0.5, 0.9)
            ),
            is_signed=True,
        ),
        Panel(
            "Predictions by deployment",
            "short",
            ((_rate("predictor_prediction_value_count", by="deployment_id"), "{{deployment_id}}"),),
        ),
    ),
)
ALERTS = Section(
    "alerts",
    "Objectives",
    (
        Panel(
            "Error budget",
            "percentunit",
            tuple(
                (f"predictor:failed:share{window}{{{RECORDED}}}", f"failed within {window}")
                for window in ("5m", "1h", "6h", "3d")
            ),
        ),
        Panel(
            "Alerts",
            "short",
            (
                (
                    f'sum by (alertname) (ALERTS{{{RECORDED},alertstate="firing"}}) or vector(0)',
                    "{{alertname}}",
                ),
            ),
        ),
    ),
)
DRIFT = Section(
    "drift",
    "Drift",
    (
        Panel(
            "Distance from the predictions of the previous deployment",
            "short",
            (
                (f"predictor:drift:distance{{{RECORDED}}}", "distance"),
                (f"predictor:drift:chance{{{RECORDED}}}", "by chance"),
            ),
        ),
    ),
)
KUBERNETES = Section(
    "kube-state-metrics",
    "Kubernetes",
    (
        Panel(
            "Replicas",
            "short",
            (
                (f"sum(kube_deployment_spec_replicas{{{DEPLOYMENT}}})", "wanted"),
                (f"sum(kube_deployment_status_replicas_ready{{{DEPLOYMENT}}})", "ready"),
                (
                    f"sum(kube_deployment_status_replicas_updated{{{DEPLOYMENT}}})",
                    "of this deployment",
                ),
            ),
        ),
        Panel(
            "Restarts of containers",
            "short",
            (
                (
                    "sum by (pod) (increase(kube_pod_container_status_restarts_total"
                    f'{{namespace="@NAMESPACE@",{POD_NAMES}}}[10m]))',
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            "Waiting containers",
            "short",
            (
                (
                    "sum by (reason) (kube_pod_container_status_waiting_reason"
                    f'{{namespace="@NAMESPACE@",{POD_NAMES}}}) or vector(0)',
                    "{{reason}}",
                ),
            ),
        ),
    ),
)
# A scrape without honorLabels renames KEDA's label `namespace`.
_KEDA = (
    '{0}keda_scaler_{1}{{exported_namespace="@NAMESPACE@",scaledObject="@RELEASE@"}}{2} or '
    '{0}keda_scaler_{1}{{namespace="@NAMESPACE@",scaledObject="@RELEASE@"}}{2}'
)
KEDA = Section(
    "keda",
    "Autoscaling",
    (
        Panel(
            "Metrics of the triggers",
            "short",
            ((f"sum by (scaler) ({_KEDA.format('', 'metrics_value', '')})", "{{scaler}}"),),
        ),
        Panel(
            "Errors of the triggers",
            "short",
            (
                (
                    f"sum by (scaler) ({_KEDA.format('rate(', 'detail_errors_total', '[$__rate_interval])')}) "
                    "or vector(0)",
                    "{{scaler}}",
                ),
            ),
        ),
    ),
)
_GPU = 'exported_namespace="@NAMESPACE@",exported_pod=~"@RELEASE@-[a-z0-9]+-[a-z0-9]{5}"'
_OWN_GPU = 'namespace="@NAMESPACE@",pod=~"@RELEASE@-[a-z0-9]+-[a-z0-9]{5}"'


def _gpu(metric: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"max by (exported_pod, gpu) ({metric}{{{_GPU}}})", "{{exported_pod}} {{gpu}}"),
        (f"max by (pod, gpu) ({metric}{{{_OWN_GPU}}})", "{{pod}} {{gpu}}"),
    )


GPU = Section(
    "dcgm",
    "GPUs",
    (
        Panel("Use", "percent", _gpu("DCGM_FI_DEV_GPU_UTIL")),
        Panel("Memory", "decmbytes", _gpu("DCGM_FI_DEV_FB_USED")),
    ),
)
COST = Section(
    "cost",
    "Cost",
    (
        Panel(
            "Cost per hour",
            "short",
            ((f"@PRICE@ * count(predictor_model_ready{{{PODS}}})", "@CURRENCY@"),),
            "The replicas at the price of the project file.",
        ),
        Panel(
            "Cost of 1,000 predictions",
            "short",
            (
                (
                    f"1000 * @PRICE@ / 3600 * count(predictor_model_ready{{{PODS}}}) / ({_REQUESTS} > 0)",
                    "@CURRENCY@",
                ),
            ),
        ),
    ),
)
SECTIONS = (RUNTIME, CLASSES, VALUES, ALERTS, DRIFT, KUBERNETES, KEDA, GPU, COST)


def api_dashboard() -> dict[str, Any]:
    """The files of the chart by name: the dashboard with a mark for its panels, and the panels by source."""
    whole = new_dashboard(
        title="@API@ (@ENVIRONMENT@)",
        uid="@UID@",
        description="A prediction API: traffic, latency, predictions, replicas. Written by gitops-ml.",
        tags=["@ENVIRONMENT@"],
    ).annotation(
        rollout_markers(
            f"count by (deployment_id) (predictor_info{{{PODS}}}) "
            f"unless count by (deployment_id) (predictor_info{{{PODS}}} offset 5m)",
            "Rollouts",
        )
    )
    ids = add_sections(whole, SECTIONS)
    made = as_json(whole)
    panels = {panel["id"]: panel for panel in made.pop("panels")}
    sections = {source: [panels[each] for each in found] for source, found in ids.items()}
    return {"dashboard": {**made, "panels": ["@PANELS@"]}, **sections}
