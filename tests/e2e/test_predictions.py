"""What a release predicts, through the API server of a real cluster: counts, a comparison, a trace."""

from __future__ import annotations

from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api

LOGGING = """\
import logging

class PythonPredictor:
    def __init__(self, config):
        self.factor = config["factor"]

    def predict(self, payload):
        logging.getLogger("answer").warning("asked")
        return {"answer": self.factor * payload["x"]}
"""


def test_counts_of_the_pods_and_a_request_lead_to_the_deployment(story):
    story.has(
        answer_api(monitoring={"model_type": "classification", "key": "answer"}), predictor=LOGGING
    )
    story.bootstraps()
    story.deploys()
    for number in (1, 1, 2):
        _, headers = story.predicts({"x": number})
    found = story.runs("describe", "answer", "-e", story.environment, "-o", "json").json
    (predictions,) = found["predictions"]
    assert found["unseen"] == []
    assert predictions["deployment_id"] == headers["x-deployment-id"]
    assert predictions["classes"] == {"2": 2.0, "4": 1.0}
    words = ("trace", headers["x-request-id"], "-e", story.environment, "-o", "json")
    until(lambda: story.ann.runs(*words).code == 0, "the log has the request", seconds=60)
    traced = story.runs(*words).json
    assert traced["deployment_id"] == headers["x-deployment-id"]
    assert traced["request"]["pod"].startswith("answer-")
