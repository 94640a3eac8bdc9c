"""The rights that `bootstrap` writes are those that the verbs use: no request needs more, and none is idle.

The API server of the tests refuses what `bootstrap/rights.yaml` does not grant, in every test.
"""

from __future__ import annotations

import json

import yaml

from gitops_ml.gitops.bootstrap_files import rights_file
from tests.support import controllers as k8s
from tests.support.http_servers import Handler, answering
from tests.support.kubernetes_server import Log, granted
from tests.support.local_server import serving
from tests.support.person import NO_REGISTRY, predictor_api


class Nothing(Handler):
    def do_GET(self):
        self.answer(200, b"")


def ends_well(life, *words: str) -> None:
    result = life.ann.runs(*words)
    assert result.code == 0, result


def test_the_verbs_use_each_right_that_is_granted_and_no_other(life):
    life.deploys(predictor_api("iris", monitoring={"model_type": "classification"}))
    deploys = ("deploy", "-e", "staging", *NO_REGISTRY, "--wait")
    not_synced = life.ann.runs(*deploys, "--timeout", "1")
    assert "Argo CD has no Application iris-staging yet" in not_synced.err, not_synced
    life.syncs()
    life.runs(k8s.ready())
    name = life.pod()["metadata"]["name"]
    life.server.logs[name, "predictor", False] = Log(["2026-11-25T12:00:00.000000000Z ready"])
    payload = life.ann.home / "payload.json"
    payload.write_text(json.dumps({"x": 21}))
    reads = (["get"], ["describe", "iris"], ["logs", "iris"], ["diff", "--live", "-e", "staging"])
    for words in reads:
        ends_well(life, *words)
    ends_well(life, *deploys)
    with serving(cwd=life.ann.project) as server:
        life.server.services["iris"] = server.address
        ends_well(life, "predict", "iris", str(payload))
    with answering(Nothing) as host:
        # Predictions come from the pods, or from the Prometheus that the cluster's entry names.
        life.server.services |= {name: f"http://{host}", "prometheus": f"http://{host}"}
        ends_well(life, "describe", "iris")
        prometheus = {"address": "http://prometheus.monitoring.svc:9090"}
        life.ann.configures(
            clusters={
                "main": {"server": "https://kubernetes.default.svc", "prometheus": prometheus}
            }
        )
        ends_well(life, "describe", "iris")
    assert life.server.used == granted()


def test_no_role_reaches_secrets_or_everything():
    for role in yaml.safe_load_all(rights_file().content):
        assert role["kind"] == "ClusterRole"
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert not {"secrets", "configmaps", "pods/exec"} & {*rule["resources"]}
