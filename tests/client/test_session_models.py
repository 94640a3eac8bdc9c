"""Classes and functions of the session in a pickled model travel as source with the predictor."""

from __future__ import annotations

import pytest

from tests.support import sessions

SESSION = """
import pickle
from pathlib import Path
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
import gitops_ml as gml

FACTOR = 3

def triple(rows):
    return [row * FACTOR for row in rows]

class Clip:
    def __init__(self, high): self.high = high
    def fit(self, rows, y=None): return self
    def transform(self, rows): return [min(row, self.high) for row in rows]

class Doubler:
    example = {"x": 9}
    def __init__(self, config):
        self.model = pickle.loads(Path(config["model"], "model.pkl").read_bytes())
    def predict(self, payload):
        return list(self.model.transform([payload["x"]]))

client = gml.client("staging", offline=True)
api = client.create_api(
    {"name": "iris", "kind": "RealtimeAPI"}, predictor=Doubler, by_tag=True, dry_run=True,
    models={"model": make_pipeline(Clip(5), FunctionTransformer(triple))},
)
print(api.example.here, api.example.packaged)
with api.run_locally() as local:
    print(local.predict({"x": 2}).value)
print((api.package / "predictor.py").read_text())
"""


@pytest.fixture
def project(ann):
    ann.configures()
    return ann.project


def test_a_pipeline_with_a_transformer_and_a_function_of_the_session_is_served(project):
    output = sessions.script(SESSION, cwd=project)
    assert output.startswith("[15] [15]\n[6]\n")
    for line in ("FACTOR = 3", "class Clip:", "def triple(rows):", "_make_known(Clip, triple)"):
        assert line in output


def test_a_model_of_the_session_is_refused_where_the_code_is_a_folder(project):
    (project / "predictor.py").write_text(
        "class PythonPredictor:\n def predict(self, payload): 1\n"
    )
    start, _, _ = SESSION.partition("api = client")
    output = sessions.script(
        f"""{start}
try:
    client.create_api(
        {{"name": "iris", "kind": "RealtimeAPI", "predictor": {{"path": "predictor.py"}}}},
        project_dir=".", dry_run=True, by_tag=True, models={{"model": Clip(5)}},
    )
except gml.errors.Unpackageable as error:
    print(error)
""",
        cwd=project,
    )
    assert "it holds Clip of this session, which a replica would not know" in output
