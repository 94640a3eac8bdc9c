"""`gitops-ml init`: a project that passes everything, wherever it is made."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from tests.support.person import NO_REGISTRY, written_below

SCHEMAS = (".gitops-ml/api.schema.json", ".gitops-ml/project.schema.json")
FILES = (
    ".gitopsmlignore", "api.yaml", "gitops-ml.yaml", "predictor.py", "requirements.txt",
    "sample.json",
)  # fmt: skip
VALID = "valid: 1 file, 1 API, 2 environments; 0 errors, 0 warnings\n"


def names(folder):
    return {file: yaml.safe_load((folder / file).read_text()) for file in FILES[1:3]}


def test_a_new_folder_gets_a_project_that_is_valid_and_renders(ann):
    result = ann.runs("init", "iris")
    assert result.out == "".join(f"wrote {name}\n" for name in (*SCHEMAS, *FILES))
    ann.go(ann.project / "iris")
    assert ann.runs("validate", "--strict").out == VALID
    assert ann.runs("render", "--offline").code == 0


def test_the_current_folder_is_the_default(ann):
    assert ann.runs("init").code == 0
    assert ann.runs("validate", "--strict").out == VALID


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("iris", "iris"),
        ("Iris Classifier", "iris-classifier"),
        ("2026-fraud", "fraud"),
        ("fraud__v2.1", "fraud-v2-1"),
        ("-dash-", "dash"),
        ("x" * 80, "x" * 40),
        ("Ünïcode café", "n-code-caf"),
        ("日本語", "api"),
        ("100", "api"),
        ("on", "on"),
        ("null", "null"),
        ("y", "y"),
        ('it\'s "quoted" & #1: [odd]', "it-s-quoted-1-odd"),
        ("a{{b}}%{c}", "a-b-c"),
    ],
)
def test_any_folder_name_makes_a_valid_project(ann, folder, name):
    (ann.project / folder).mkdir()
    ann.go(ann.project / folder)
    assert ann.runs("init").code == 0
    assert ann.runs("validate", "--strict").out == VALID
    result = ann.runs("render", "--offline", "-o", "json").json
    assert {release["api"] for release in result["releases"]} == {name}


def test_what_is_there_is_left_alone(ann):
    (ann.project / "predictor.py").write_text("# mine\nclass PythonPredictor: ...\n")
    (ann.project / "requirements.txt").write_text("numpy\n")
    (ann.project / "data.csv").write_text("1,2\n")
    before = written_below([ann.project])
    result = ann.runs("init", "-o", "json").json
    assert result == {
        "written": [*SCHEMAS, ".gitopsmlignore", "api.yaml", "gitops-ml.yaml", "sample.json"],
        "kept": ["predictor.py", "requirements.txt"],
        "not_applied": [],
    }
    assert before.items() <= written_below([ann.project]).items()
    assert ann.runs("validate", "--strict").out == VALID


def test_a_second_time_keeps_everything(ann):
    ann.runs("init")
    before = written_below([ann.project])
    assert ann.runs("init").out == "".join(f"kept  {name}\n" for name in FILES)
    assert written_below([ann.project]) == before


OPTIONS = {
    "--name": ("rose", "name", "api.yaml"),
    "--image-repository": ("ghcr.io/rose/ml", "image.repository", "gitops-ml.yaml"),
    "--gitops-repository": ("https://git.example.com/rose.git", "gitops.repository", "gitops-ml.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_an_existing_file_does_not_follow_is_reported(ann, option):
    value, field, file = OPTIONS[option]
    assert ann.runs("init", option, value).err.count("not applied") == 0
    assert ann.runs("init", option, value).err.count("not applied") == 0  # it has that value
    expected = f"{option} other is not applied, as {file} exists: write it to {field} there"
    before = written_below([ann.project])
    result = ann.runs("init", option, "other")
    assert f"warning: {expected}\n" in result.err
    assert ann.runs("init", option, "other", "-o", "json").json["not_applied"] == [expected]
    assert expected in ann.runs("init", "--ci", "github", option, "other").err
    assert before.items() <= written_below([ann.project]).items()


def test_a_file_that_cannot_be_read_follows_no_option(ann):
    (ann.project / "gitops-ml.yaml").write_text("- [")
    assert "not applied" in ann.runs("init", "--image-repository", "ghcr.io/rose/ml").err


def test_a_workflow_that_exists_with_other_content_is_reported(ann):
    ann.runs("init", "--ci", "github")
    assert "is not what this command writes" not in ann.runs("init", "--ci", "github").err
    files = ann.runs("init", "--ci", "github", "--branch", "trunk", "-o", "json").json
    assert len(files["not_applied"]) == 1, files
    assert "remove the file and run the command again" in files["not_applied"][0]


def test_the_schema_is_found_on_every_machine_and_renewed_by_a_later_version(ann):
    ann.runs("init")
    for file, schema in zip(("api.yaml", "gitops-ml.yaml"), SCHEMAS, strict=True):
        first = (ann.project / file).read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema={schema}"
        assert json.loads((ann.project / schema).read_text())["$schema"]
    (ann.project / SCHEMAS[0]).write_text("{}")
    assert ann.runs("init").out.startswith(f"wrote {SCHEMAS[0]}\n")
    assert ann.runs("schema", "api").json == json.loads((ann.project / SCHEMAS[0]).read_text())


def test_a_name_of_ones_own(ann):
    ann.runs("init", "--name", "fraud")
    assert names(ann.project)["api.yaml"][0]["name"] == "fraud"


@pytest.mark.parametrize("name", ["Fraud", "1fraud", "fraud-", "x" * 43, "a b", ""])
def test_a_name_that_no_api_can_have_is_refused_before_anything_is_written(ann, name):
    result = ann.runs("init", "--name", name)
    assert (result.code, written_below([ann.project])) == (2, {})
    assert (
        "cannot be the name of the project and its API: at most 40 lower-case letters" in result.err
    )


def test_both_repositories_can_be_named(ann):
    ann.runs("init", "--image-repository", "127.0.0.1:5000/ml", "--gitops-repository", ann.gitops)
    found = names(ann.project)["gitops-ml.yaml"]
    assert found["image"]["repository"] == "127.0.0.1:5000/ml"
    assert found["gitops"]["repository"] == str(ann.gitops)
    ann.deploys(*NO_REGISTRY)
    assert ann.commits() == 1


def test_an_address_with_signs_that_yaml_knows_is_quoted(ann):
    odd = str(ann.home / "a: b #c.git")
    ann.runs("init", "--gitops-repository", odd)
    assert names(ann.project)["gitops-ml.yaml"]["gitops"]["repository"] == odd


def test_a_folder_that_cannot_be_written_is_told(ann):
    (ann.project / "file").write_text("")
    result = ann.runs("init", "file")
    assert result.code == 2
    assert "Traceback" not in result.err


def test_a_link_that_leads_out_of_the_folder_is_not_followed(ann):
    os.symlink(ann.home / "elsewhere.yaml", ann.project / "api.yaml")
    ann.runs("init")
    assert not (ann.home / "elsewhere.yaml").exists()
