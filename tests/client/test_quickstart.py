"""The quickstart notebook runs from top to bottom, alone and against real servers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.support import sessions
from tests.support.git_servers import commit_files, git

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "quickstart.ipynb"
RELEASE = "releases/staging/iris-notebook/release.yaml"


def cells() -> list:
    return json.loads(NOTEBOOK.read_text())["cells"]


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the notebook leaves there, for its user to look at, goes with the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))


def ran(folder: Path) -> list[sessions.Output]:
    """What each code cell showed, each of them without an error."""
    (folder / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    code = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    outputs = sessions.notebook(*code, cwd=folder)
    for output in outputs:
        assert output.error == "", output.error
    return outputs


def test_it_is_kept_without_outputs():
    assert len(cells()) > 20
    for cell in cells():
        assert not cell.get("outputs") and not cell.get("execution_count")


def test_it_runs_with_nothing_but_a_folder(nobodys_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = ran(tmp_path)
    html = "".join(output.html for output in shown)
    assert "iris-notebook" in html
    assert "setosa" in html
    assert "virginica" in html
    assert "Tells the species of an iris" not in html


@pytest.fixture
def servers(mill, monkeypatch):
    """A repository with a first commit, a registry, and an index of packages."""
    for file in mill.project.iterdir():
        file.unlink()
    commit_files(mill.person.gitops, {"README.md": "Ours.\n"})
    image = {"base": str(mill.base.image), "python_version": "3.11"}
    monkeypatch.setenv("QUICKSTART_GITOPS", str(mill.person.gitops))
    monkeypatch.setenv("QUICKSTART_REGISTRY", mill.repository.rpartition("/")[0])
    monkeypatch.setenv("QUICKSTART_PROJECT", json.dumps({"image": image}))
    return mill


def test_against_servers_it_ends_in_a_merged_release_whose_image_can_be_served(servers):
    shown = ran(servers.project)
    gitops = servers.person.gitops
    release = yaml.safe_load(git("show", f"main:{RELEASE}", cwd=gitops))
    assert release["image"]["digest"]
    origin = release["provenance"]["origin"]
    assert origin["cell"]
    assert release["deployment_id"] in "".join(output.html for output in shown)

    # What was merged is served again, out of the image in the registry.
    result = sessions.script(
        textwrap.dedent("""
            import json, os
            import gitops_ml as gml
            client = gml.client(
                "staging", gitops_repository=os.environ["QUICKSTART_GITOPS"],
                image_repository=os.environ["QUICKSTART_REGISTRY"], namespace="ml-staging",
                project=json.loads(os.environ["QUICKSTART_PROJECT"]),
            )
            with client.get_api("iris-notebook").run_locally() as local:
                print(json.dumps(local.predict({"measurements": [6.3, 3.3, 6.0, 2.5]}).value))
                print(local.folder)
        """),
        cwd=servers.project,
    )
    answer, folder = result.splitlines()[-2:]
    assert json.loads(answer) == {"label": "virginica"}
    assert not Path(folder).exists()
