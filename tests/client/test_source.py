"""Source proposals: code and manifest go to the source repository, and CI does the rest."""

from __future__ import annotations

import textwrap

import pytest
import yaml

import gitops_ml as gml
from gitops_ml.errors import InvalidDocument, UsageError
from tests.support import sessions
from tests.support.git_servers import bare_repository, git
from tests.support.person import Person, container_api, predictor_api

BRANCH = "gitops-ml/source/iris"


@pytest.fixture
def source(ann, tmp_path):
    """The bare source repository, with one commit."""
    repository = bare_repository(tmp_path / "my source.git")
    clone = tmp_path / "clone"
    git("clone", "-q", repository, clone)
    (clone / "README.md").write_text("Ours.\n")
    git("checkout", "-q", "-B", "main", cwd=clone)
    git("add", "--all", cwd=clone)
    git("commit", "-q", "-m", "Begin", cwd=clone)
    git("push", "-q", "origin", "main", cwd=clone)
    ann.configures(
        source={"repository": str(repository), "directory": "our apis"},
        pull_requests={"content": "source"},
    )
    return repository


def files(repository, branch=BRANCH):
    names = git("ls-tree", "-r", "--name-only", branch, cwd=repository).splitlines()
    return {name: git("show", f"{branch}:{name}", cwd=repository) + "\n" for name in names}


def test_code_and_manifest_are_proposed_and_nothing_is_built(source, ann):
    output = sessions.script(
        textwrap.dedent("""
            import gitops_ml as gml
            BASE = 2
            class Doubler:
                def predict(self, payload):
                    return BASE * payload["x"]
            client = gml.client("staging", offline=True)
            api = client.create_api(
                {"name": "iris", "kind": "RealtimeAPI"}, predictor=Doubler, requirements=["orjson"]
            )
            print(api)
        """),
        cwd=ann.project,
    )
    assert "iris in staging  [proposed]" in output
    found = files(source)
    assert sorted(found) == [
        "README.md",
        "our apis/iris/api.yaml",
        "our apis/iris/predictor.py",
        "our apis/iris/requirements.txt",
    ]
    assert yaml.safe_load(found["our apis/iris/api.yaml"]) == [
        {
            "name": "iris",
            "kind": "RealtimeAPI",
            "predictor": {"path": "predictor.py", "class_name": "Doubler"},
        }
    ]
    assert "return BASE * payload" in found["our apis/iris/predictor.py"]
    assert found["our apis/iris/requirements.txt"].startswith("orjson==")
    assert git("log", "--format=%s", "-1", BRANCH, cwd=source) == "Add iris"
    assert ann.commits() == 0


def test_a_notebook_proposes_as_a_script_does(source, ann):
    (*_, api) = sessions.notebook(
        "import gitops_ml as gml\nclient = gml.client('staging', offline=True)",
        "class Doubler:\n    def predict(self, payload):\n        return 2 * payload",
        "client.create_api({'name': 'iris', 'kind': 'RealtimeAPI'}, predictor=Doubler)",
        cwd=ann.project,
    )
    assert api.error == ""
    assert "iris in staging  [proposed]" in api.text
    assert "our apis/iris/predictor.py" in files(source)


def test_the_files_of_a_project_dir_are_proposed(source, ann):
    (ann.project / "work").mkdir()
    (ann.project / "work" / "predictor.py").write_text("class Predictor: ...\n")
    (ann.project / "work" / ".git").mkdir()
    client = gml.client("staging", offline=True)
    client.create_api(predictor_api("iris"), project_dir=ann.project / "work")
    assert sorted(files(source)) == ["README.md", "work/api.yaml", "work/predictor.py"]


def test_the_files_of_the_project_itself_are_proposed_as_they_are(source, ann):
    (ann.project / "predictor.py").write_text("class Predictor: ...\n")
    (ann.project / "run.sh").write_text("true\n")
    (ann.project / "run.sh").chmod(0o755)
    (ann.project / "link.py").symlink_to("predictor.py")
    client = gml.client("staging", offline=True)
    client.create_api(predictor_api("iris"), project_dir=ann.project)
    modes = {
        line.split()[3]: line.split()[0]
        for line in git("ls-tree", "-r", BRANCH, cwd=source).splitlines()
    }
    assert modes["api.yaml"] == modes["predictor.py"] == "100644"
    assert (modes["run.sh"], modes["link.py"]) == ("100755", "120000")


def test_what_was_proposed_can_be_deployed_by_ci(source, ann):
    client = gml.client("staging", offline=True)
    client.create_api(container_api("iris"))
    checkout = ann.home / "ci"
    git("clone", "-q", "-b", BRANCH, source, checkout)
    ann.configures(folder=checkout)
    ann.go(checkout)
    assert ann.runs("validate").code == 0
    ann.deploys("-e", "staging", "--offline")
    assert ann.release("iris")["manifest_file"] == "our apis/iris/api.yaml"


def test_proposing_twice_moves_nothing_and_a_change_moves_the_branch(source):
    client = gml.client("staging")
    client.create_api(container_api("iris"))
    before = git("rev-parse", BRANCH, cwd=source)
    client.create_api(container_api("iris"))
    assert git("rev-parse", BRANCH, cwd=source) == before
    client.create_api(container_api("iris", autoscaling={"max_replicas": 7}))
    assert git("rev-parse", BRANCH, cwd=source) != before
    assert git("rev-list", "--count", f"main..{BRANCH}", cwd=source) == "1"


def test_a_manifest_that_says_the_same_keeps_its_comments(source, ann, tmp_path):
    clone = tmp_path / "clone"
    (clone / "our apis" / "iris").mkdir(parents=True)
    text = "# Ask Ann before you touch this.\n" + yaml.safe_dump([container_api("iris")])
    (clone / "our apis" / "iris" / "api.yaml").write_text(text)
    git("add", "--all", cwd=clone)
    git("commit", "-q", "-m", "Iris", cwd=clone)
    git("push", "-q", "origin", "main", cwd=clone)
    api = gml.client("staging").create_api(container_api("iris"))
    assert (api.changes, api.summary) == ((), "nothing to change")


OTHERS = """\
# Ours.
- name: first  # the first
  kind: RealtimeAPI

# This is Iris.
- {name: iris, kind: RealtimeAPI}

# And the last.
- name: last
  kind: RealtimeAPI
"""


@pytest.mark.parametrize("name", ["iris", "new"])
def test_other_apis_keep_their_comments(source, tmp_path, name):
    stands(tmp_path / "clone", OTHERS, api=name)
    gml.client("staging").create_api(container_api(name))
    found = git("show", f"gitops-ml/source/{name}:our apis/{name}/api.yaml", cwd=source)
    assert found.startswith("# Ours.\n- name: first  # the first\n  kind: RealtimeAPI\n\n# This is")
    assert "\n\n# And the last.\n- name: last\n  kind: RealtimeAPI" in found
    apis = yaml.safe_load(found)
    assert container_api(name) in apis
    assert len(apis) == (3 if name == "iris" else 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [("name: iris\n", "is not a list of APIs"), ("[{name: other}]\n", "a folder of its own")],
)
def test_a_manifest_that_cannot_be_changed_is_not_replaced(source, tmp_path, text, message):
    stands(tmp_path / "clone", text)
    with pytest.raises((InvalidDocument, UsageError), match=message):
        gml.client("staging").create_api(container_api("iris"))


def stands(clone, text, api="iris"):
    """The manifest is in the source repository."""
    (clone / "our apis" / api).mkdir(parents=True)
    (clone / "our apis" / api / "api.yaml").write_text(text)
    git("add", "--all", cwd=clone)
    git("commit", "-q", "-m", "Iris", cwd=clone)
    git("push", "-q", "origin", "main", cwd=clone)


def test_a_manifest_of_others_that_cannot_be_read_is_not_replaced(source, tmp_path):
    stands(tmp_path / "clone", "- name: [\n")
    with pytest.raises(InvalidDocument, match=r"^our apis/iris/api\.yaml:\d"):
        gml.client("staging").create_api(container_api("iris"))


def test_files_of_an_earlier_package_are_named_and_those_of_other_apis_are_not(
    source, ann, tmp_path
):
    stands(tmp_path / "clone", "[]\n", api="iris-2")
    (tmp_path / "clone" / "our apis" / "iris").mkdir()
    (tmp_path / "clone" / "our apis" / "iris" / "old.py").write_text("")
    git("add", "--all", cwd=tmp_path / "clone")
    git("commit", "-q", "-m", "Old", cwd=tmp_path / "clone")
    git("push", "-q", "origin", "main", cwd=tmp_path / "clone")
    printed = sessions.script(
        textwrap.dedent("""
            import gitops_ml as gml
            class Doubler:
                def predict(self, payload):
                    return 2 * payload["x"]
            client = gml.client("staging", offline=True)
            api = client.create_api({"name": "iris", "kind": "RealtimeAPI"}, predictor=Doubler)
            print([warning.partition(":")[0] for warning in api.warnings])
        """),
        cwd=ann.project,
    )
    assert printed.strip().endswith("['our apis/iris/old.py']")


def test_a_plan_of_it_changes_nothing(source):
    plan = gml.client("staging").create_api(container_api("iris"), dry_run=True)
    assert [change.path for change in plan.changes] == ["our apis/iris/api.yaml"]
    assert plan.is_plan
    assert git("branch", "--list", BRANCH, cwd=source) == ""


def test_one_call_may_choose_otherwise(source, ann):
    client = gml.client("staging", offline=True)
    client.create_api(container_api("iris"), content="complete", pull_request=False)
    assert ann.release("iris")["name"] == "iris"
    with pytest.raises(UsageError, match="content must be 'complete' or 'source', not 'both'"):
        client.create_api(container_api("iris"), content="both")


def test_without_a_source_repository_the_message_names_the_setting(ann: Person):
    ann.configures(pull_requests={"content": "source"})
    with pytest.raises(UsageError, match=r"set source\.repository"):
        gml.client("staging").create_api(container_api("iris"))
