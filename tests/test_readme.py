"""What the README shows is what gitops-ml does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops_ml.cli.main import COMMANDS, gitops_ml

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest, predictor and project file of the README."""
    manifest, settings = blocks("yaml")[:2]
    (tmp_path / "api.yaml").write_text(manifest, "utf-8")
    (tmp_path / "predictor.py").write_text(blocks("python")[0], "utf-8")
    (tmp_path / "gitops-ml.yaml").write_text(settings, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITOPS_ML_CACHE", str(tmp_path / "cache"))
    return tmp_path


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(gitops_ml, arguments, obj={}, prog_name="gitops-ml")
    return done.output + (str(done.exception) if done.exception else "")


def test_the_first_project_is_valid(project: Path) -> None:
    assert shown("validate") == "valid: 1 file, 1 API, 2 environments; 0 errors, 0 warnings\n"


def test_the_policy_is_valid_and_its_absence_is_refused_as_shown(project: Path) -> None:
    manifest = "- name: iris\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n"
    (project / "api.yaml").write_text(f"{manifest}  compute: {{priority_class: high}}\n", "utf-8")
    (line,) = re.findall(r"^api\.yaml:4:13: .*", README, re.MULTILINE)
    assert line in shown("validate")
    (policy,) = [each for each in blocks("yaml") if each.startswith("policy:")]
    settings = project / "gitops-ml.yaml"
    settings.write_text(settings.read_text("utf-8") + policy, "utf-8")
    assert shown("validate").startswith("valid: ")


def test_a_token_is_refused_to_an_unknown_server_as_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project / "gitops-ml.yaml"
    server = "https://git.acme.example/acme/gitops.git"
    settings.write_text(
        settings.read_text("utf-8").replace("https://github.com/acme/gitops.git", server), "utf-8"
    )
    monkeypatch.setenv("GITOPS_TOKEN", "t")
    monkeypatch.setenv("HOME", str(project.parent))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (sentence,) = re.findall(r"^error: (gitops\.token_env.*?)\n```", README, re.DOTALL | re.M)
    assert sentence in shown("diff", "-e", "staging")


def test_the_table_has_every_command() -> None:
    rows = re.findall(r"^\| `gitops-ml ([a-z]+)", README, re.MULTILINE)
    assert {*rows} == {*COMMANDS} - {"version"}
