"""From a class in a session to an image in a real registry and a release that names it by digest."""

from __future__ import annotations

import json
import shlex

import pytest

import gitops_ml as gml
from gitops_ml.oci.reference import ImageRef
from tests.support import sessions
from tests.support.git_servers import bare_repository, commit_files, git

CREATE = """
import json
import gitops_ml as gml
from six import ensure_str

class Shouter:
    def __init__(self, config):
        self.mark = config["mark"]
    def predict(self, payload):
        return ensure_str(payload["text"]).upper() + self.mark

client = gml.client("staging")
SPEC = {"name": "answer", "kind": "RealtimeAPI", "predictor": {"config": {"mark": "!"}}}
api = client.create_api(SPEC, predictor=Shouter, requirements=["six<1.17"])
print("FACTS", json.dumps({
    "image": str(api.image), "id": api.deployment_id, "folder": str(api.package),
    "warnings": api.warnings, "head": api.pull_request.head,
}))
"""


def facts(result):
    (line,) = (line for line in result.splitlines() if line.startswith("FACTS "))
    return json.loads(line.removeprefix("FACTS "))


@pytest.fixture
def bob(mill):
    """Somebody whose GitOps repository has a first commit, and whose six is installed."""
    commit_files(mill.person.gitops, {"README.md": "hello\n"})
    return mill


def test_a_class_is_built_pushed_and_proposed_without_docker(bob):
    pytest.importorskip("six")
    found = facts(sessions.script(CREATE, cwd=bob.project))
    image = ImageRef.parse(found["image"])
    assert bob.client.digest(image) == image.digest
    assert found["warnings"] == []
    values = git(
        "show", f"{found['head']}:releases/staging/answer/values.yaml", cwd=bob.person.gitops
    )
    assert image.digest in values
    # Out of the image the class comes back as it was packaged.
    back = bob.person.home / "back"
    git("push", "-q", ".", f"{found['head']}:main", cwd=bob.person.gitops)
    written = gml.client("staging").export(found["id"], back)
    assert {"api.yaml", "predictor.py", "pylock.toml"} <= set(written)
    packaged = (bob.project / found["folder"] / "predictor.py").read_text()
    assert (back / "predictor.py").read_text() == packaged
    # The same class again, from a session of its own: nothing is built, nothing is resolved.
    bob.index.asked.clear()
    again = facts(sessions.script(CREATE.replace("api.pull_request.head", "None"), cwd=bob.project))
    assert ({**again, "head": found["head"]}, bob.index.asked) == (found, [])


def test_code_changes_keep_the_lock(bob):
    pytest.importorskip("six")
    sessions.script(CREATE, cwd=bob.project)
    bob.index.asked.clear()
    other = facts(sessions.script(CREATE.replace("upper", "lower"), cwd=bob.project))
    assert bob.index.asked == []
    assert "lower()" in (bob.person.home / other["folder"] / "predictor.py").read_text()


MODELS = """
import json, pickle
from pathlib import Path
import gitops_ml as gml

class Dict:
    def __init__(self, config):
        with (Path(config["words"]) / "words.pkl").open("rb") as file:
            self.words = pickle.load(file)
    def predict(self, payload):
        return self.words[payload["x"]]

words = {"a": "b"}
Path("weights.txt").write_text("w" * 100)
client = gml.client("staging")
spec = {"name": "answer", "kind": "RealtimeAPI"}
models = {"words": words, "weights": "weights.txt", "far": "s3://acme/models/1"}
plan = client.create_api(spec, predictor=Dict, models=models, dry_run=True)
print("PLAN", plan.diff)
api = client.create_api(spec, predictor=Dict, models=models, content="complete", pull_request=False)
"""


def test_models_of_a_session_are_artifacts_by_digest(bob):
    result = sessions.script(MODELS, cwd=bob.project)
    config = bob.person.release("answer")["manifest"]["predictor"]["config"]
    repository = f"{bob.repository.rpartition('/')[0]}/models"
    assert config["far"] == "s3://acme/models/1"
    for name in ("words", "weights"):
        image = ImageRef.parse(config[name].removeprefix("oci://"))
        assert image.repository == f"{repository}/answer-{name}"
        assert bob.client.digest(image) == image.digest
        assert config[name] in result.partition("PLAN ")[2], "the plan has another digest"


def test_a_plan_with_models_sends_nothing(bob):
    plan = MODELS.partition("api = client")[0]
    sessions.script(plan, cwd=bob.project)
    repository = f"{bob.repository.rpartition('/')[0]}/models/answer-words"
    assert bob.client.digest(ImageRef(repository, "latest")) is None
    assert "catalog" not in plan


def test_a_module_that_is_not_installed_is_named(bob):
    text = CREATE.replace("from six import ensure_str\n", "").replace(
        "ensure_str(payload", "__import__('json') or (payload"
    )
    text = text.replace(
        "        return", "        import no_such_package\n        return", 1
    ).replace('requirements=["six<1.17"]', "requirements=[]")
    with pytest.raises(AssertionError, match="imports no_such_package, which is not installed"):
        sessions.script(text, cwd=bob.project)


def test_what_a_clean_interpreter_cannot_import_is_not_pushed(bob):
    text = CREATE.replace(
        "class Shouter:", "class Shouter:\n    1 if __name__ == '__main__' else 1 / 0"
    )
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        sessions.script(text, cwd=bob.project)
    assert git("for-each-ref", "refs/heads/gitops-ml", cwd=bob.person.gitops) == ""


def test_what_a_notebook_proposes_as_source_is_built_and_deployed_by_ci(bob, tmp_path):
    pytest.importorskip("six")
    source = bare_repository(tmp_path / "source.git", {"README.md": "hello\n"})
    bob.person.configures(
        image={
            "repository": bob.repository.rpartition("/")[0],
            "base": str(bob.base.image),
            "python_version": "3.11",
        },
        source={"repository": str(source)},
        pull_requests={"content": "source"},
    )
    text = CREATE.replace("str(api.image)", "''").replace("api.deployment_id", "None")
    found = facts(sessions.script(text, cwd=bob.project))
    checkout = tmp_path / "ci"
    git("clone", "-q", "-b", found["head"], source, checkout)
    (checkout / "gitops-ml.yaml").write_bytes((bob.project / "gitops-ml.yaml").read_bytes())
    bob.person.go(checkout)
    for line in ci_commands():
        result = bob.person.runs(*shlex.split(line)[1:])
        assert result.code == 0, (line, result)
    assert git("status", "--porcelain", cwd=checkout) == "?? gitops-ml.yaml", "another lock"
    # a protected environment is deployed to by its name, or promoted to
    assert bob.person.paths("releases/production/") == []
    release = bob.person.release("answer", "staging")
    assert release["manifest_file"] == "apis/answer/api.yaml"
    assert release["image"]["digest"]


def ci_commands():
    """What CI runs for a proposal of code and after its merge."""
    return ("gitops-ml validate", "gitops-ml lock --check", "gitops-ml deploy --frozen")
