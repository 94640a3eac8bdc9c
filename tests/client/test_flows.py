"""Metaflow: the example's real flow, run as people run it, and what its artifact becomes."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gitops_ml.oci.reference import ImageRef
from tests.support import sessions
from tests.support.git_servers import commit_files, git
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).parents[2] / "examples" / "metaflow-iris"
BRANCH = "gitops-ml/deploy/staging/iris-flow"
RELEASE = "releases/staging/iris-flow/release.yaml"
OF_SKLEARN = ("scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl")


@dataclass
class Lab:
    """Somebody with the example's flow, a GitOps repository, a registry and an index."""

    mill: object
    folder: Path

    @property
    def gitops(self) -> Path:
        return self.mill.person.gitops

    def runs(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "flow.py", *arguments], cwd=self.folder, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    def says(self, script: str) -> str:
        return sessions.script(textwrap.dedent(script), cwd=self.folder)

    def proposed(self):
        return yaml.safe_load(git("show", f"{BRANCH}:{RELEASE}", cwd=self.gitops))


def shown_in(card: str) -> str:
    """What a card shows: its page holds that as JSON in base64."""
    found = re.search(r'__MF_DATA__\[[^]]+\] = "([^"]+)"', card)
    return base64.b64decode(found[1]).decode()


@pytest.fixture
def lab(mill, monkeypatch):
    folder = mill.person.project
    for file in folder.iterdir():
        file.unlink()
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    mill.configures()
    commit_files(mill.person.gitops, {"README.md": "Ours.\n"})
    for name in OF_SKLEARN:
        make_wheel(mill.index.folder, name, importlib.metadata.version(name))
    for name in [name for name in os.environ if name.startswith("METAFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METAFLOW_USER", "ann")
    monkeypatch.setenv("METAFLOW_DEFAULT_METADATA", "local")
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", "local")
    return Lab(mill, folder)


def test_a_run_proposes_its_model_with_the_task_as_provenance(lab):
    done = lab.runs("run", "--run-id-file", "run-id")
    assert done.returncode == 0, done.stdout + done.stderr
    run = f"IrisFlow/{(lab.folder / 'run-id').read_text()}"
    release = lab.proposed()
    origin = release["provenance"]["origin"]
    assert origin["metaflow"].startswith(f"{run}/end/")
    assert origin["artifact"] == "model"
    assert f"{release['deployment_id']}" in done.stdout

    # The model is an artifact of the registry, by its digest; the image is one, too.
    location = release["manifest"]["predictor"]["config"]["model"]
    artifact = ImageRef.parse(location.removeprefix("oci://"))
    assert artifact.digest
    assert lab.mill.client.digest(artifact) == artifact.digest
    assert release["image"]["digest"]

    # The card of the step tells it; the same run from outside is the same deployment.
    output = json.loads(
        lab.says(f"""
            import json
            import gitops_ml as gml
            from flow import SPEC
            from metaflow import Task
            from metaflow.cards import get_cards
            from predictor import IrisPredictor

            (card,) = get_cards(Task({origin["metaflow"]!r}))
            client = gml.client("staging")
            api = gml.deploy_from_flow({run!r}, SPEC, IrisPredictor, client=client)
            with client.run_locally(api) as local:
                found = local.predict({{"measurements": [5.1, 3.5, 1.4, 0.2]}})
            print(json.dumps([card.get(), api.deployment_id, found.value, found.deployment_id]))
        """).splitlines()[-1]
    )
    card, id, prediction, local_id = output
    assert release["deployment_id"] in shown_in(card)
    assert origin["metaflow"] in shown_in(card)
    assert id == release["deployment_id"]
    assert prediction == {"label": "setosa"}
    assert local_id == "iris-flow-local"


def test_what_cannot_be_deployed_says_why(lab):
    failed = lab.runs("run", "--run-id-file", "run-id", "--c", "0.00001")
    assert failed.returncode != 0
    assert "too low to be deployed" in failed.stdout + failed.stderr
    run = f"IrisFlow/{(lab.folder / 'run-id').read_text()}"
    output = lab.says(f"""
        import gitops_ml as gml
        from flow import SPEC, IrisFlow
        from metaflow import Step
        from predictor import IrisPredictor

        def tries(source, **options):
            try:
                gml.deploy_from_flow(source, SPEC, IrisPredictor, env="staging", **options)
            except gml.errors.UsageError as error:
                print(error)

        tries("IrisFlow")
        tries({run!r})
        tries(Step({run + "/train"!r}), artifact="modle")
        tries("IrisFlow/4711")
        tries("no pathspec")
        tries(7)
        tries(IrisFlow(use_cli=False))
        tries("IrisFlow", client=gml.client("staging"))
    """)
    lines = output.splitlines()
    assert lines[0] == "no run of IrisFlow has succeeded yet"
    assert (
        lines[1] == f"the run {run} has not succeeded; to deploy its artifact anyway, give a task"
    )
    assert "has no artifact 'modle'; it has: accuracy, data, environment, model" in lines[2]
    assert lines[3].startswith("Metaflow finds no 'IrisFlow/4711'")
    assert lines[4] == "'no pathspec' is not a pathspec such as IrisFlow/123 or IrisFlow/123/end/4"
    assert lines[5].startswith("a int is not a flow, run, step or task of Metaflow")
    assert lines[6].startswith("this flow is not running: call deploy_from_flow inside a step")
    assert lines[7].startswith("give client= or env=, not both")
    assert not git("for-each-ref", f"refs/heads/{BRANCH}", cwd=lab.gitops)
