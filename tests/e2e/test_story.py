"""A release on its way: bootstrap, sync, predict, change, heal."""

from __future__ import annotations

import time

from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR, answer_api


def test_a_manifest_becomes_an_api_that_predicts(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    answer, headers = story.predicts({"x": 21})
    assert answer == {"answer": 42}
    release = story.runs("get", "answer", "-e", story.environment, "-o", "json").json["releases"][0]
    assert release["status"] == "status_live"
    assert headers["x-deployment-id"] == release["running_id"]


def test_argo_cd_heals_what_somebody_changed_or_removed_by_hand(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    (port,) = story.service()["ports"]
    wrong = {"spec": {"ports": [{**port, "targetPort": 9999}]}}
    story.cluster.patch("service", "answer", wrong, namespace=story.namespace)
    until(
        lambda: story.service()["ports"][0]["targetPort"] == port["targetPort"],
        "Argo CD has restored the port", seconds=60,
    )  # fmt: skip
    story.cluster.kubectl("delete", "service", "answer", "-n", story.namespace)
    until(story.has_service, "Argo CD has restored the Service", seconds=60)
    assert story.predicts({"x": 1})[0] == {"answer": 2}


def test_changed_code_is_rolled_out(story, record_property):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    story.has(answer_api(), predictor=PREDICTOR.replace("self.factor * ", "100 * "))
    began = time.monotonic()
    story.deploys()
    seconds = time.monotonic() - began
    record_property("seconds_from_changed_code_to_ready_pods", round(seconds, 1))
    assert story.predicts({"x": 1})[0] == {"answer": 100}
