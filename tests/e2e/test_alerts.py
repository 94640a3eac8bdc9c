"""Five faults on a real cluster, and for each the alert that names it and no other one."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.cluster import posted
from tests.e2e.machine.processes import running, until
from tests.e2e.monitoring import Monitoring, definitions
from tests.e2e.story import answer_api

pytestmark = pytest.mark.long

PREDICTOR = """\
import time

class PythonPredictor:
    def __init__(self, config):
        if config.get("crashes"):
            raise ValueError("the weights are gone")
        self.usual = config.get("usual", "setosa")
        self.count = 0

    def predict(self, payload):
        if payload["do"] == "fail":
            raise RuntimeError("as asked")
        if payload["do"] == "slow":
            time.sleep(4)
        self.count += 1
        return {"label": "virginica" if self.count % 5 == 0 else self.usual}
"""
EXPECTED = {
    "failing": {"PredictorErrorBudgetBurn"},
    "slow": {"PredictorLatencyBudgetBurn"},
    "drifting": {"PredictorDrift"},
    "crashing": {"PredictorCrashLoop"},
    "stalled": {"PredictorRolloutStalled"},
}
CLUSTERS = {
    "main": {
        "prometheus": {"pod_monitors": True, "alerts": True, "sources": ["kube_state_metrics"]}
    }
}


def api(name: str, *, path: str = "predictor.py", **config: Any) -> dict[str, Any]:
    predictor = {"path": path, "config": config, "threads_per_process": 16}
    changes: dict[str, Any] = {"slo": {"latency": {"p95": "3s"}}} if name == "slow" else {}
    if name == "crashing":
        changes["update_strategy"] = {"preflight": "none"}
    return {
        **answer_api(**changes),
        "name": name,
        "predictor": predictor,
        "monitoring": {"model_type": "classification", "key": "label"},
    }


def apis(*, faulty: bool) -> list[dict[str, Any]]:
    return [
        api("failing"),
        api("slow"),
        api("drifting", usual="versicolor" if faulty else "setosa"),
        api("crashing", **({"crashes": True} if faulty else {})),
        api("stalled", path="stalled.py" if faulty else "predictor.py"),
    ]


class Callers:
    """Each API is called some times a second; what is asked of one can be changed."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.asked = dict.fromkeys(addresses, "ok")
        self._addresses, self._ended = addresses, threading.Event()
        self._pool = ThreadPoolExecutor(64)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.4):
            for name, address in self._addresses.items():
                self._pool.submit(self._call, address, self.asked[name])

    def _call(self, address: str, deed: str) -> None:
        try:
            posted(f"{address}/predict", {"do": deed})
        except (urllib.error.URLError, OSError):
            return

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)


def test_each_of_five_faults_fires_its_alert_and_no_other(story, folder, record_property):
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus: apt-get install prometheus")
    story.cluster.apply(definitions())
    story.configures(clusters=CLUSTERS)
    story.has(*apis(faulty=False), predictor=PREDICTOR)
    story.bootstraps()
    story.deploys()
    beside = Monitoring(story.cluster, story.namespace, folder / f"monitoring-{story.mark}")
    calls = Callers({name: story.address(name) for name in EXPECTED})
    with running(beside) as monitoring, running(calls) as callers:
        time.sleep(50)
        assert monitoring.firing() == {}, "normal traffic"
        (story.ann.project / "stalled.py").write_text("import no_such_module\n" + PREDICTOR)
        story.has(*apis(faulty=True), predictor=PREDICTOR)
        story.waits = ()
        story.deploys()
        callers.asked |= {"failing": "fail", "slow": "slow"}
        until(lambda: has_new_rules(story), "Argo CD syncs the rules", seconds=240, pause=2)
        monitoring.reads_rules()
        fire_alone(monitoring, record_property)
        leads_to_the_cause(story, monitoring)


def has_new_rules(story: Any) -> bool:
    """The rules of the APIs whose faults are a deployment, as far as it is synced."""
    return (
        "PredictorDrift" in rules(story, "drifting")
        and story.release("crashing")["deployment_id"] in rules(story, "crashing")
    )  # fmt: skip


def rules(story: Any, name: str) -> str:
    kind = "prometheusrules.monitoring.coreos.com"
    return str(story.cluster.get(kind, name, namespace=story.namespace)["spec"])


def fire_alone(monitoring: Monitoring, record_property: Any) -> None:
    """All expected alerts fire, and until some time after that no other one."""
    start, seen = time.monotonic(), dict[str, int]()

    def wrong() -> str | None:
        found = monitoring.firing()
        for name, alerts in found.items():
            for each in alerts - seen.keys():
                seen[each] = round(time.monotonic() - start)
                print(f"{each} of {name} fires after {seen[each]} s")
        is_expected = all(alerts <= EXPECTED[name] for name, alerts in found.items())
        return None if is_expected else f"{found} fires"

    until(
        lambda: monitoring.firing() == EXPECTED, "the five alerts fire", seconds=420,
        impossible=wrong, pause=1,
    )  # fmt: skip
    time.sleep(20)
    assert wrong() is None
    record_property("seconds_from_new_rules_to_alerts", seen)


def leads_to_the_cause(story: Any, monitoring: Monitoring) -> None:
    """What the runbooks name shows each cause."""
    alerts = monitoring.asks('ALERTS{alertstate="firing",alertname="PredictorCrashLoop"}')
    identity = alerts[0]["metric"]["deployment_id"]
    assert identity == story.release("crashing")["deployment_id"]
    assert "crashing" in story.runs("trace", identity).out
    for name, cause in {"crashing": "the weights are gone", "stalled": "no_such_module"}.items():
        # While a container is made again, its log is not there.
        until(lambda each=(name, cause): describes(story, *each), f"{name}: {cause}", seconds=60)


def describes(story: Any, name: str, cause: str) -> bool:
    return cause in story.runs("describe", name, "-e", story.environment).out
