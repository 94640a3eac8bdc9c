"""What is remembered between calls: it makes them quicker and nothing else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.person import NO_REGISTRY, container_api, finished, predictor_api, program

if TYPE_CHECKING:
    from pathlib import Path

RENDER = ("render", "--offline", "-o", "json")


@pytest.fixture
def project(ann):
    warned = container_api("roses", autoscaling={"target_replica_concurrency": 2})
    ann.has(container_api("iris"), predictor_api("answer"), warned)
    return ann


def answers(ann) -> Path:
    return ann.home / "cache/answers.sqlite"


def test_a_second_call_says_byte_for_byte_the_same(project):
    """Warnings and errors with their places are part of what is remembered."""
    for arguments in (RENDER, ("validate",), ("validate", "-o", "json")):
        first, second = project.runs(*arguments), project.runs(*arguments)
        assert first == second
        answers(project).unlink()
        assert project.runs(*arguments) == first
    assert answers(project).is_file()


def test_an_edited_manifest_is_read_again(project):
    before = project.runs(*RENDER).json
    project.has(container_api("iris", autoscaling={"max_replicas": 7}), predictor_api("answer"))
    after = project.runs(*RENDER).json
    path = "releases/staging/iris/values.yaml"
    assert "maxReplicas: 5" in before["files"][path]
    assert "maxReplicas: 7" in after["files"][path]
    assert (
        before["files"]["releases/staging/answer/values.yaml"]
        == (after["files"]["releases/staging/answer/values.yaml"])
    )


def test_an_edited_project_file_is_read_again(project):
    project.runs(*RENDER)
    environments = {"staging": {"cluster": "main", "namespace": "elsewhere"}}
    project.configures(environments=environments)
    result = project.runs(*RENDER).json
    assert {release["namespace"] for release in result["releases"]} == {"elsewhere"}


def test_a_file_that_goes_is_missed_although_its_manifest_is_remembered(project):
    assert project.runs("validate").code == 0
    (project.project / "predictor.py").unlink()
    result = project.runs("validate")
    assert (result.code, "there is no file 'predictor.py'" in result.out) == (3, True)


def test_an_error_that_was_mended_is_gone_and_comes_back_with_the_mistake(project):
    right = (project.project / "api.yaml").read_text()
    wrong = right.replace("max_replicas", "max_replcas", 1)
    seen = []
    for text in (right, wrong, right, wrong):
        (project.project / "api.yaml").write_text(text)
        seen.append(project.runs("validate"))
    assert [result.code for result in seen] == [0, 3, 0, 3]
    assert (seen[0], seen[1]) == (seen[2], seen[3])


def test_the_same_file_under_another_name_is_another_answer(project):
    """Its name is in messages and in the release."""
    project.runs(*RENDER)
    moved = project.project / "deeper"
    moved.mkdir()
    for name in ("api.yaml", "predictor.py"):
        (project.project / name).rename(moved / name)
    result = project.runs(*RENDER).json["files"]["releases/staging/iris/release.yaml"]
    assert "manifest_file: deeper/api.yaml" in result


def damaged(file):
    file.write_bytes(b"this is no database" * 1000)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:5000])


def scrambled(file):
    text = bytearray(file.read_bytes())
    text[4096:8192] = os.urandom(4096)
    file.write_bytes(bytes(text))


def empty(file):
    file.write_bytes(b"")


def another_table(file):
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE answers (something TEXT)")
    database.close()


def a_folder(file):
    file.unlink()
    file.mkdir()


def nonsense(file):
    with sqlite3.connect(file) as database:
        database.execute("UPDATE answers SET answer = 'nonsense'")
    database.close()


def another_shape(file):
    with sqlite3.connect(file) as database:
        database.execute("UPDATE answers SET answer = '[1]'")
    database.close()


@pytest.mark.parametrize(
    "harm",
    [damaged, cut_off, scrambled, empty, another_table, a_folder, nonsense, another_shape],
)
def test_a_memory_that_came_to_harm_is_survived(project, harm):
    before = project.runs(*RENDER)
    harm(answers(project))
    assert project.runs(*RENDER) == before
    assert project.runs(*RENDER) == before


def test_a_locked_memory_does_not_hold_anybody_up_for_long(project):
    before = project.runs(*RENDER)
    database = sqlite3.connect(answers(project))
    database.execute("BEGIN EXCLUSIVE")
    assert project.runs(*RENDER) == before
    database.close()


def test_a_cache_folder_that_cannot_be_made_is_survived_where_none_is_needed(project, monkeypatch):
    before = project.runs(*RENDER)
    (project.home / "file").write_text("")
    monkeypatch.setenv("GITOPS_ML_CACHE", str(project.home / "file/cache"))
    assert project.runs(*RENDER) == before
    result = project.runs("deploy", *NO_REGISTRY)
    assert (result.code, "GITOPS_ML_CACHE" in result.err) == (2, True)


def test_a_read_only_cache_folder_is_survived_where_none_is_needed(project):
    before = project.runs(*RENDER)
    cache = project.home / "cache"
    cache.chmod(0o555)
    answers(project).chmod(0o444)
    (project.project / "api.yaml").write_text((project.project / "api.yaml").read_text() + "\n")
    # Root without capabilities has to keep to what the modes say.
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*powerless, *program(*RENDER)],
        cwd=project.project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    cache.chmod(0o700)
    assert result.returncode == 0, result.stderr
    assert result.stdout == before.out


def test_two_calls_at_once_share_it(project):
    before = project.runs(*RENDER)
    answers(project).unlink()
    calls = [
        subprocess.Popen(program(*RENDER), cwd=project.project, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert {call.communicate()[0] for call in calls} == {before.out}


def test_what_is_remembered_is_nobody_elses_to_read(project):
    finished(*RENDER, cwd=project.project)
    assert (project.home / "cache").stat().st_mode & 0o077 == 0


def forged(file, *, keeps_the_mark):
    """The database with every answer changed, as somebody can who has no key."""
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT key, answer FROM answers").fetchall()
        changed = [(answer.replace("ml-staging", "ml-forged"), key) for key, answer in rows]
        database.executemany("UPDATE answers SET answer = ? WHERE key = ?", changed)
        if not keeps_the_mark:
            database.execute("PRAGMA application_id=1")
    database.close()
    return sum("ml-forged" in answer for answer, _ in changed)


@pytest.mark.parametrize("keeps_the_mark", [True, False])
def test_an_answer_that_somebody_else_wrote_is_not_believed(project, keeps_the_mark):
    before = project.runs(*RENDER)
    assert forged(answers(project), keeps_the_mark=keeps_the_mark)
    assert project.runs(*RENDER) == before


def test_what_a_job_with_another_key_left_in_the_cache_is_not_believed(project, monkeypatch):
    """CI carries the cache from a job of a pull request to the one that deploys, and no home."""
    project.runs(*RENDER)
    left = answers(project).read_bytes()
    monkeypatch.setenv("HOME", str(project.home / "another"))
    result = project.runs(*RENDER)
    assert result.code == 0
    own = answers(project).read_bytes()
    assert (own[60:64], own[68:72]) != (left[60:64], left[68:72]), "it is begun again"
    # a view that never ends, in a database of theirs: it is not even opened
    answers(project).unlink()
    with sqlite3.connect(answers(project)) as database:
        database.execute(
            "CREATE VIEW answers AS WITH RECURSIVE n(key, answer) AS "
            "(SELECT x'00', '' UNION ALL SELECT key, answer FROM n) SELECT * FROM n"
        )
    database.close()
    assert project.runs(*RENDER) == result
