"""What deployments predict, and `gitops-ml compare`: from pods, from Prometheus, and from log files."""

from __future__ import annotations

import gzip
import json
import random
import time

import pytest

import gitops_ml as gml
from gitops_ml.client.predictions_view import AccuracyView
from tests.support import controllers as k8s
from tests.support.http_servers import Handler, answering
from tests.support.person import predictor_api
from tests.support.prometheus import prometheus_with

METRICS = """\
# HELP predictor_predictions_total Predictions by class.
# TYPE predictor_predictions_total counter
predictor_predictions_total{{class="setosa",deployment_id="{id}"}} {setosa}
predictor_predictions_total{{class="virginica",deployment_id="{id}"}} {virginica}
# TYPE predictor_requests_total counter
predictor_requests_total{{code="200",method="POST",model_name="iris"}} {ok}
predictor_requests_total{{code="500",method="POST",model_name="iris"}} {failed}
# TYPE predictor_request_duration_seconds histogram
predictor_request_duration_seconds_bucket{{le="0.01",model_name="iris"}} {quick}
predictor_request_duration_seconds_bucket{{le="0.1",model_name="iris"}} 1000
predictor_request_duration_seconds_bucket{{le="+Inf",model_name="iris"}} 1000
predictor_request_duration_seconds_count{{model_name="iris"}} 1000
predictor_request_duration_seconds_sum{{model_name="iris"}} 9
"""


def metrics(id, *, setosa=500, virginica=500, failed=0, quick=990) -> bytes:
    return METRICS.format(
        id=id, setosa=setosa, virginica=virginica, ok=1000 - failed, failed=failed, quick=quick
    ).encode()


def tracked(name="iris", **changes):
    return predictor_api(name, monitoring={"model_type": "classification"}, **changes)


@pytest.fixture
def two(life):
    """An old and a new deployment with two pods each; what their metrics are, by deployment id."""
    old = life.deploys(tracked())
    new = life.deploys(tracked(compute={"cpu": "300m"}))
    life.syncs()
    life.runs(k8s.ready(), k8s.ready(), k8s.ready(), k8s.ready())
    for number in range(2):
        life.pod(number)["metadata"]["labels"]["gitops-ml.dev/deployment-id"] = old
    answers = {old: metrics(old), new: metrics(new, setosa=900, virginica=100)}

    class Pod(Handler):
        id = old

        def do_GET(self):
            self.answer(200, answers[self.id], {"Content-Type": "text/plain"})

    class NewPod(Pod):
        id = new

    with answering(Pod) as old_host, answering(NewPod) as new_host:
        for number in range(4):
            name = life.pod(number)["metadata"]["name"]
            life.server.services[name] = f"http://{old_host if number < 2 else new_host}"
        yield life, old, new, answers


def test_describe_and_get_show_what_each_deployment_predicts(two):
    life, old, new, _ = two
    result = life.ann.runs("describe", "iris", "-e", "staging")
    assert result.code == 0, result
    assert f"{new}: 2000 predictions, from 2 pods that run now, each since its start" in result.out
    assert "setosa     1800   90.0%" in result.out
    assert f"{old}: 2000 predictions" in result.out
    found = life.ann.runs("get", "iris", "-e", "staging", "-o", "json").json["predictions"]
    assert [each["deployment_id"] for each in found] == [new, old]
    assert found[0]["classes"] == {"setosa": 1800.0, "virginica": 200.0}
    assert found[0]["requests"] == {"200": 2000.0}
    asked = [each for each in life.server.requests if "/proxy/" in each]
    assert {each.partition("/proxy")[0].rpartition(":")[2] for each in asked} == {"8082"}


def test_get_without_a_name_asks_no_pod(two):
    life, *_ = two
    assert life.ann.runs("get").code == 0
    assert not [each for each in life.server.requests if "/proxy/" in each]


def test_without_the_right_describe_says_which_role_gives_it(two):
    life, *_ = two
    life.server.forbidden.add("pods/proxy")
    result = life.ann.runs("describe", "iris", "-e", "staging")
    assert result.code == 0
    assert "clusterrole=gitops-ml-metrics-reader" in result.err


def test_compare_tells_a_shift_from_none(two):
    life, old, new, answers = two
    result = life.ann.runs("compare", old, new, "--exit-code")
    assert result.code == 7, result
    first, *lines = result.out.splitlines()
    assert first == f"{old} and {new}: different"
    assert lines[0].startswith("  classes   different: the shift is large: PSI ")
    assert "'setosa': 50.0% -> 90.0%" in lines[0]
    answers[new] = metrics(new, setosa=503, virginica=497)
    same = life.ann.runs("compare", old[:-4], new[:-4], "--exit-code", "-o", "json")
    assert (same.code, same.json["verdict"]) == (0, "alike"), same
    assert {each["name"] for each in same.json["aspects"]} == {"classes", "errors", "latency"}
    assert same.json["aspects"][0]["figures"]["psi"] < 0.01


def test_compare_names_what_is_recorded_where_a_deployment_is_not(two):
    life, old, new, _ = two
    for number in range(2):
        life.pod(number)["metadata"]["labels"]["gitops-ml.dev/deployment-id"] = new
    result = life.ann.runs("compare", old, new)
    assert result.code == 2
    assert f"nothing is recorded of {old}" in result.err
    assert new in result.err
    assert "prometheus.address" in result.err


def test_prometheus_is_asked_where_the_cluster_names_it(two):
    life, old, new, _ = two
    asked = []

    class Prometheus(Handler):
        def do_GET(self):
            asked.append(self.path)
            series = []
            if "count+by" in self.path:
                series = [({"deployment_id": id}, "1") for id in (old, new)]
            elif "predictor_predictions_total" in self.path:
                rest = (
                    {"setosa": "700", "virginica": "300"} if old in self.path else {"setosa": "70"}
                )
                series = [({"class": name}, value) for name, value in rest.items()]
            elif "count" in self.path:
                series = [({}, "3")]
            result = [{"metric": labels, "value": [1, value]} for labels, value in series]
            body = {"status": "success", "data": {"resultType": "vector", "result": result}}
            self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    main = {
        "server": "https://kubernetes.default.svc",
        "prometheus": {"address": "http://prometheus.monitoring.svc:9090"},
    }
    life.ann.configures(clusters={"main": main})
    with answering(Prometheus) as host:
        life.server.services["prometheus"] = f"http://{host}"
        found = life.ann.runs("compare", old, new, "-o", "json", "--days", "2")
    assert found.code == 0, found
    assert found.json["first"]["classes"] == {"setosa": 700.0, "virginica": 300.0}
    assert found.json["second"]["source"].startswith("Prometheus: 3 pods of the last 2 days")
    assert any("172800s" in each for each in asked)
    assert not [each for each in life.server.requests if "/pods/" in each and "/proxy/" in each]


def test_what_1000_predictions_cost_follows_from_replicas_over_time(two, tmp_path):
    life, old, new, _ = two
    now = time.time() // 15 * 15
    samples = []
    for at in (now - 15 * n for n in range(481)):  # two hours
        for pod, id in (("a", old), ("b", old), ("c", new)):
            place = {"instance": pod, "namespace": "ml-staging"}
            samples.append(("predictor_info", {**place, "deployment_id": id}, at, 1))
            answered = (at - now + 7200) * (0.5 if id == old else 2)
            samples.append(("predictor_request_duration_seconds_count", place, at, answered))
    prices = {"currency": "EUR", "cpu_hour": 0.5, "memory_hour": 0}
    with prometheus_with(samples, tmp_path) as address:
        main = {"server": "https://kubernetes.default.svc", "prometheus": {"address": address}}
        life.ann.configures(clusters={"main": {**main, "prices": prices}})
        found = life.ann.runs("compare", old, new, "-o", "json").json
        text = life.ann.runs("compare", old, new).out
        life.ann.configures(clusters={"main": main})
        unpriced = life.ann.runs("compare", old, new).out
    first, second = (found[key]["cost"] for key in ("first", "second"))
    assert first["replica_hours"] == pytest.approx(4, rel=0.05)
    assert second["replica_hours"] == pytest.approx(2, rel=0.05)
    assert first["requests"] == pytest.approx(7200, rel=0.01)
    cpus = first["replica_hour"] / 0.5, second["replica_hour"] / 0.5
    assert cpus == pytest.approx((0.2, 0.3))
    assert first["per_thousand"] == pytest.approx(1000 * 4 * 0.1 / 7200, rel=0.05)
    assert "  cost      EUR 0.05" in text
    assert "for 1,000 predictions (x0.3" in text or "for 1,000 predictions (x0.2" in text
    assert "for 1,000" not in unpriced


def test_the_client_gives_frames_and_a_plot(two):
    _, old, new, _ = two
    client = gml.client("staging")
    found = client.get_api("iris").predictions()
    frame = found.to_frame()
    assert list(frame.columns) == ["deployment_id", "prediction", "count", "share"]
    assert frame[frame.prediction == "setosa"].set_index("deployment_id")["share"].to_dict() == {
        new: 0.9, old: 0.5,
    }  # fmt: skip
    html = found._repr_html_()
    assert html.count("<rect") == 6
    assert "currentColor" in html
    compared = client.compare(old, new)
    assert compared.verdict == "different"
    assert list(compared.to_frame()["aspect"]) == ["classes", "errors", "latency"]
    assert "large" in repr(compared)


# -- log files -------------------------------------------------------------------------------------

OLD, NEW = "iris-000000000001", "iris-000000000002"


def response(id, deployment, label, *, rate="1", status="200", day=1):
    return {
        "specversion": "1.0", "type": "org.kubeflow.serving.inference.response", "id": id,
        "source": "/staging/iris", "time": f"2026-11-0{day}T10:00:00.000Z", "deploymentid": deployment,
        "samplerate": rate, "statuscode": status, "data": {"label": label},
    }  # fmt: skip


def feedback(id, truth):
    return {
        "specversion": "1.0",
        "type": "dev.gitops-ml.feedback",
        "id": id,
        "data": {"truth": truth},
    }


def write(folder, events, name="log.jsonl"):
    file = folder / name
    file.write_text("".join(f"{json.dumps(each)}\n" for each in events) + "no event\n{}\n")
    return file


def test_log_files_need_neither_a_cluster_nor_a_project(ann):
    rand = random.Random(4)
    events = []
    for number in range(1600):
        deployment, shares = ((OLD, (0.5, 0.5)), (NEW, (0.8, 0.2)))[number % 2]
        label = rand.choices(["setosa", "virginica"], shares)[0]
        events.append(response(f"r{number}", deployment, label, rate="0.1"))
        right = label if rand.random() < (0.9 if deployment == OLD else 0.6) else "other"
        events.append(feedback(f"r{number}", right))
    file = write(ann.project, events)
    words = ("compare", OLD, "iris-000000000002", "--log", file, "--key", "label", "-o", "json")
    result = ann.runs(*words, "--exit-code")
    assert result.code == 7, result
    verdicts = {each["name"]: each["verdict"] for each in result.json["aspects"]}
    assert verdicts == {"classes": "different", "accuracy": "different", "errors": "alike"}
    assert result.json["first"]["predictions"] == 8000  # 800 at a rate of 10 %
    spans = gml_accuracy(ann, file)
    assert [(each.deployment_id, each.judged) for each in spans] == [(OLD, 800), (NEW, 800)]
    assert 0.85 < spans[0].accuracy < 0.95


def gml_accuracy(ann, file):
    view = AccuracyView.read("iris", [file], every="day", key="label")
    assert list(view.to_frame()["judged"]) == [each.judged for each in view.spans]
    return view.spans


def test_a_log_without_the_deployment_names_those_it_has(ann):
    file = write(ann.project, [response("1", OLD, "a")])
    result = ann.runs("compare", OLD, "iris-000000000003", "--log", file)
    assert result.code == 2
    assert f"did you mean '{OLD}'" in result.err
    result = ann.runs("compare", OLD, NEW, "--log", ann.project / "gone.jsonl")
    assert (result.code, "gone.jsonl does not exist" in result.err) == (2, True)


def test_a_log_may_be_packed_and_what_is_none_is_said(ann):
    events = "".join(f"{json.dumps(response(str(n), OLD, 'a'))}\n" for n in range(9)).encode()
    for name, content in {
        "whole.gz": gzip.compress(events[:200]) + gzip.compress(events[200:]),
        "cut.gz": gzip.compress(events)[:-20],
        "bad.gz": b"\x1f\x8b\x08\x00" + bytes(40),
        "wide.jsonl": events.decode().encode("utf-16"),
        "table.csv": b"id,label\n1,a\n",
        "empty.jsonl": b"",
        "long.gz": gzip.compress(bytes(17 << 20)),
    }.items():
        (ann.project / name).write_bytes(content)

    def asked(name):
        return ann.runs(
            "compare", OLD, OLD, "--log", ann.project / name, "--key", "label", "-o", "json"
        )

    assert asked("whole.gz").json["first"]["classes"] == {"a": 9.0}
    for name, words in {
        "cut.gz": "it is packed by gzip, and Compressed file ended",
        "bad.gz": "it is packed by gzip, and ",
        "wide.jsonl": "it is UTF-16: write it as UTF-8",
        "table.csv": "none of the 2 lines of the logs is a response of the prediction log",
        "empty.jsonl": "none of the 0 lines",
        "long.gz": "its line 1 has more than",
    }.items():
        found = asked(name)
        assert (found.code, words in found.err) == (2, True), found
