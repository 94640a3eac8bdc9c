"""Each alert fires within the time that its runbook promises, no other one does, and normal weeks are silent."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.alert_scenarios import BEFORE, NOW, Pod, Scenario, by_day, firing, from_step

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
MONITORED = yaml.safe_load((Path(__file__).parent / "values" / "monitored.yaml").read_text())
BEGIN = 180
"""The minute in which the faults begin."""


def promises() -> dict[str, tuple[str, int]]:
    """Page and minutes of each alert, from the table of the runbooks."""
    rows = re.findall(
        r"^\| \[`(Predictor\w+)`\]\(([\w-]+\.md)\) \|.*\| (\d+) minutes",
        (RUNBOOKS / "README.md").read_text(),
        re.M,
    )
    return {name: (page, int(minutes)) for name, page, minutes in rows}


@pytest.fixture
def rules(render: Callable[..., Any]) -> dict[str, Any]:
    spec: dict[str, Any] = render(MONITORED).one("PrometheusRule")["spec"]
    return spec


def alerts(rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]


def pods(**fault: Any) -> list[Pod]:
    return [Pod(f"iris-7d9f8b6c5-aaaa{number}", NOW, **fault) for number in (1, 2)]


FAULTS: dict[str, Callable[[], Scenario]] = {
    "PredictorErrorBudgetBurn": lambda: Scenario(400, pods(failed=from_step(BEGIN, 0.5))),
    "PredictorLatencyBudgetBurn": lambda: Scenario(400, pods(slow=from_step(BEGIN, 0.9))),
    "PredictorSaturated": lambda: Scenario(
        400, pods(in_progress=from_step(BEGIN, 20.0, before=2.0))
    ),
    "PredictorNoReadyReplica": lambda: Scenario(
        400, pods(), ready=from_step(BEGIN, 0.0, before=2.0)
    ),
    "PredictorRolloutStalled": lambda: Scenario(400, pods(), stalled=from_step(BEGIN, 1.0)),
    "PredictorCrashLoop": lambda: Scenario(
        400, pods(restarts=from_step(BEGIN, 1.0)), stalled=from_step(BEGIN + 20, 1.0)
    ),
    "PredictorScalingFallback": lambda: Scenario(400, pods(), scaler_errors=from_step(BEGIN, 4.0)),
}


@pytest.mark.parametrize("switches", list(itertools.product((False, True), repeat=5)), ids=str)
def test_rules_are_rendered_where_their_series_exist_and_no_group_is_empty(
    switches: tuple[bool, ...], render: Callable[..., Any]
) -> None:
    enabled, runtime, kube_state_metrics, keda, scaling = switches
    sources = {"kubeStateMetrics": kube_state_metrics, "keda": keda}
    values = {
        "runtime": MONITORED["runtime"] if runtime else None,
        "image": MONITORED["image"],
        "autoscaling": {"enabled": scaling},
        "monitoring": {"sources": sources, "alerts": {"enabled": enabled}},
    }
    found = [item for item in render(values).objects if item["kind"] == "PrometheusRule"]
    series = runtime or kube_state_metrics or (keda and scaling)
    assert len(found) == (enabled and series)
    assert all(group["rules"] for item in found for group in item["spec"]["groups"])


@pytest.mark.parametrize("alert", sorted(FAULTS))
def test_a_fault_fires_its_alert_within_the_promised_time_and_no_other(
    alert: str, rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    _, minutes = promises()[alert]
    expected = {BEGIN: (), BEGIN + minutes: (alert,), BEGIN + minutes + 10: (alert,)}
    problem = firing(rules, FAULTS[alert](), expected=expected, promtool=promtool, folder=tmp_path)
    assert not problem


def test_queues_that_are_full_are_saturation_too(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    scenario = Scenario(400, pods(refused=from_step(BEGIN, 60.0)))
    expected = {BEGIN: (), BEGIN + promises()["PredictorSaturated"][1]: ("PredictorSaturated",)}
    assert not firing(rules, scenario, expected=expected, promtool=promtool, folder=tmp_path)


def test_a_failed_preflight_stalls_the_rollout(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    scenario = Scenario(200, pods(), preflight_failed=from_step(BEGIN, 1.0))
    expected = {BEGIN: (), BEGIN + 3: ("PredictorRolloutStalled",)}
    assert not firing(rules, scenario, expected=expected, promtool=promtool, folder=tmp_path)


def test_a_slow_burn_warns_and_does_not_page(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    day = 24 * 60
    scenario = Scenario(day, pods(failed=from_step(day // 2, 0.004)))
    expected = {day + 60: (), day + 11 * 60: ("warning",)}
    options: dict[str, Any] = {
        "promtool": promtool,
        "folder": tmp_path,
        "step": 120,
        "evaluated": 600,
    }
    assert not firing(rules, scenario, expected=expected, label="severity", **options)


def test_one_failure_of_an_api_with_few_callers_fires_nothing(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    quiet = pods(requests=lambda _: 0.02, failed=lambda t: 1.0 if t == BEGIN else 0.0)
    expected = dict.fromkeys((BEGIN + 2, BEGIN + 5, BEGIN + 60), ())
    scenario = Scenario(400, quiet)
    assert not firing(rules, scenario, expected=expected, promtool=promtool, folder=tmp_path)


def rollout(at: int, end: int, **fault: Any) -> list[Pod]:
    """Two replicas of the deployment before, and two of this one from the step ``at`` on."""
    names = ("1", "2")
    old = [Pod(f"iris-1a2b3c4d5-aaaa{each}", BEFORE, end=at + 1) for each in names]
    return [
        *old,
        *(Pod(f"iris-7d9f8b6c5-aaaa{each}", NOW, begin=at, end=end, **fault) for each in names),
    ]


def test_other_predictions_than_before_the_rollout_fire_the_drift_alert(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    at, (_, minutes) = 360, promises()["PredictorDrift"]
    drifted = rollout(at, 10**9, classes=lambda _: (0.1, 0.1, 0.8))
    expected = {2 * at: (), 2 * at + minutes: ("PredictorDrift",)}
    scenario = Scenario(600, drifted)
    problem = firing(
        rules, scenario, expected=expected, promtool=promtool, folder=tmp_path, step=120
    )
    assert not problem


def test_values_that_moved_fire_the_drift_alert(
    render: Callable[..., Any], promtool: str, tmp_path: Path
) -> None:
    values = {
        **MONITORED,
        "runtime": {**MONITORED["runtime"], "monitoring": {"modelType": "regression"}},
    }
    rules = render(values).one("PrometheusRule")["spec"]
    for shares, expected in (((0.3, 0.7, 1.0), ("PredictorDrift",)), ((0.72, 0.95, 1.0), ())):
        series = []
        for deployment, mix in ((BEFORE, (0.7, 0.95, 1.0)), (NOW, shares)):
            for bound, share in zip(("1.0", "10.0", "+Inf"), mix, strict=True):
                rate = 120 * share
                labels = (
                    'namespace="ml",app_kubernetes_io_instance="iris",pod="a",'
                    f'deployment_id="{deployment}",le="{bound}"'
                )
                name = f"predictor_prediction_value_bucket{{{labels}}}"
                series.append({"series": name, "values": f"0+{rate}x200"})
        scenario = Scenario(200)
        scenario.series = lambda series=series: series  # type: ignore[method-assign]
        problem = firing(
            rules, scenario, expected={300: expected}, promtool=promtool, folder=tmp_path, step=120
        )
        assert not problem


def test_a_release_that_nobody_calls_is_reported_after_a_week(
    rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    day, (_, minutes) = 24 * 60, promises()["PredictorUnused"]
    idle = pods(requests=lambda t: 600.0 if t < day // 2 else 0.0)
    expected = {7 * day: (), day + minutes + 60: ("PredictorUnused",)}
    scenario = Scenario(9 * day // 2, idle[:1])
    problem = firing(
        rules,
        scenario,
        expected=expected,
        promtool=promtool,
        folder=tmp_path,
        step=120,
        evaluated=600,
    )
    assert not problem


@pytest.mark.parametrize(
    ("days", "evaluated"), [(7, 600), (2, 240)], ids=["a week", "two days, more closely"]
)
def test_normal_days_with_rollouts_are_silent(
    days: int, evaluated: int, rules: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    """What happens once is in the five minutes before an evaluation."""
    day = 12 * 60  # steps of two minutes
    traffic = by_day(100, 3000, day=day)
    usual: dict[str, Any] = {
        "requests": traffic,
        "failed": lambda t: 0.02 if t % day == 298 else 0.0002,
        "slow": by_day(0.005, 0.03, day=day),
        "in_progress": by_day(0.2, 9, day=day),
        "refused": lambda t: 40.0 if t % day == 358 else 0.0,
        "classes": lambda t: (0.5 + 0.05 * by_day(-1, 1, day=day)(t), 0.3, 0.2),
        "restarts": lambda t: 1.0 if t == day + 98 else 0.0,
    }
    replicas: list[Pod] = []
    for number in range(days):  # a rollout each day, in which new pods begin before old ones end
        begin = number * day + 200 * bool(number)
        end = (number + 1) * day + 203 if number + 1 < days else 10**9
        deployment = BEFORE if number < days // 2 else NOW
        name = f"iris-{number}a2b3c4d5-aaaa"
        replicas += [
            Pod(f"{name}{each}", deployment, begin=begin, end=end, **usual) for each in (1, 2)
        ]
    scenario = Scenario(
        days * day,
        replicas,
        ready=lambda t: 1.0 if t % day in (200, 201) else 2.0,
        scaler_errors=lambda t: 1.0 if t % day == 198 else 0.0,
    )
    expected = dict.fromkeys(range(0, days * day * 2, max(4, evaluated // 60)), ())
    problem = firing(
        rules,
        scenario,
        expected=expected,
        promtool=promtool,
        folder=tmp_path,
        step=120,
        evaluated=evaluated,
    )
    assert not problem


def test_promtool_accepts_the_rules_of_every_example(
    render_exactly: Callable[..., Any], promtool: str, tmp_path: Path
) -> None:
    checked = 0
    for path in sorted((Path(__file__).parent / "values").glob("*.yaml")):
        for item in render_exactly(yaml.safe_load(path.read_text())).objects:
            if item["kind"] == "PrometheusRule":
                (tmp_path / "rules.yaml").write_text(yaml.safe_dump(item["spec"]))
                command = [promtool, "check", "rules", str(tmp_path / "rules.yaml")]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                checked += 1
    assert checked > 1


def test_rules_of_many_apis_are_each_their_own_whatever_the_names_and_objectives(
    render: Callable[..., Any], promtool: str, tmp_path: Path
) -> None:
    names = ("null", "true", "on", "n", "e10", "iris", "iris-v2", "iris-objectives", "a" * 40)
    every = itertools.product((50, 93, 99.999), (50, 99), (0.001, 0.7, 60))
    groups = []
    for name, (availability, percentile, seconds) in zip(
        itertools.cycle(names), every, strict=False
    ):
        latency = [{"percentile": percentile, "seconds": seconds}]
        slo = {"availability": availability, "latency": latency}
        alerts_ = {**MONITORED["monitoring"]["alerts"], "slo": slo}
        values = {
            **MONITORED,
            "api": {**MONITORED["api"], "name": name, "team": name, "environment": name},
            "monitoring": {**MONITORED["monitoring"], "alerts": alerts_},
        }
        namespace = f"ml-{availability}".replace(".", "-")
        found = render(values, name=name, namespace=namespace).one("PrometheusRule")["spec"][
            "groups"
        ]
        groups += [{**group, "name": f"{namespace}-{group['name']}"} for group in found]
    rules = [rule for group in groups for rule in group["rules"]]
    texts = [
        text
        for rule in rules
        for text in (rule.get("labels", {}) | rule.get("annotations", {})).values()
    ]
    assert {type(text) for text in texts} == {str}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    command = [
        promtool,
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        str(tmp_path / "rules.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seconds", [0.001, 0.003, 0.25, 0.3, 59.0, 60])
def test_a_latency_between_two_buckets_is_interpolated(
    seconds: float, render: Callable[..., Any]
) -> None:
    slo = {"availability": 99, "latency": [{"percentile": 95, "seconds": seconds}]}
    values = {
        **MONITORED,
        "monitoring": {**MONITORED["monitoring"], "alerts": {"enabled": True, "slo": slo}},
    }
    found = render(values).one("PrometheusRule")["spec"]["groups"][0]["rules"]
    expr = next(rule["expr"] for rule in found if rule.get("record") == "predictor:slow_p95:rate5m")
    bounds = [float(each) for each in re.findall(r'le="([\d.]+)"', expr)]
    weights = [float(each) for each in re.findall(r"\* ([\d.]+)", expr)] or [1.0]
    middle = sum(bound * weight for bound, weight in zip(bounds, weights, strict=True))
    assert middle == pytest.approx(seconds, rel=1e-3)


def test_the_buckets_of_the_rules_are_those_of_the_runtime() -> None:
    from predictor_base.telemetry.metrics import _SECONDS

    text = (ROOT / "charts/predictor/templates/_alerts.tpl").read_text()
    (bounds,) = re.findall(r'range list ((?:"[\d.]+" ?)+)', text)
    assert [float(each) for each in re.findall(r"[\d.]+", bounds)] == list(_SECONDS)


def test_each_alert_names_its_deployment_commit_and_page(rules: dict[str, Any]) -> None:
    seen = {rule["alert"] for rule in alerts(rules)}
    assert seen == set(promises())
    for rule in alerts(rules):
        assert rule["labels"]["deployment_id"] == NOW
        assert rule["annotations"]["commit"] == "c" * 40
        page = rule["annotations"]["runbook_url"].rpartition("/")[2]
        assert page == promises()[rule["alert"]][0]
        assert (RUNBOOKS / page).is_file()
