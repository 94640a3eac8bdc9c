"""A release on its way: bootstrap, sync, predict, change, heal."""

from __future__ import annotations

import pytest

from tests.e2e.machine.processes import until
from tests.e2e.story import PREDICTOR, answer_api

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]


def test_a_manifest_becomes_an_api_that_predicts(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    answer, headers = story.predicts({"x": 21})
    assert answer == {"answer": 42}
    release = story.runs("get", "answer", "-e", story.environment, "-o", "json").json["releases"][0]
    assert release["status"] == "status_live"
    assert headers["x-deployment-id"] == release["running_deployment_id"]


def test_argo_cd_heals_what_somebody_changed_by_hand(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    port = {"spec": {"ports": [{"name": "http", "port": 8888, "targetPort": "http"}]}}
    story.cluster.patch("service", "answer", port, namespace=story.namespace)
    until(lambda: story.address().endswith(":80"), "Argo CD has restored the Service", seconds=60)
    assert story.predicts({"x": 1})[0] == {"answer": 2}


def test_changed_code_is_rolled_out(story):
    story.has(answer_api())
    story.bootstraps()
    story.deploys()
    story.has(answer_api(), predictor=PREDICTOR.replace("payload", "10 * payload", 1))
    story.has(answer_api(), predictor=PREDICTOR.replace("self.factor * ", "100 * "))
    story.deploys()
    assert story.predicts({"x": 1})[0] == {"answer": 100}
