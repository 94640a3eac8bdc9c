"""Commit messages."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from gitops_ml.git.commits import Change
from gitops_ml.gitops.commit_message import action_message, commit_message, summary_of
from gitops_ml.gitops.release_files import Release, ReleaseText
from gitops_ml.helm.charts import Chart
from gitops_ml.oci.reference import ImageRef


def release(name: str = "iris", environment: str = "prod") -> Release:
    return Release(
        name=name,
        environment=environment,
        team="ml",
        namespace="ml",
        image=ImageRef("ghcr.io/acme/iris", "h-1", "sha256:" + "1" * 64),
        content_hash=None,
        chart=Chart("predictor", "1.0.0", "1", ()),
        text=ReleaseText(f"{name}-0123456789ab", "", "", ""),
    )


def message(
    releases: Sequence[Release] = (),
    removed: Sequence[str] = (),
    subject: str | None = None,
    commit: str | None = None,
) -> str:
    return commit_message(releases, removed=removed, subject=subject, source_commit=commit)


def trailers(text: str) -> list[str]:
    """What git itself takes for trailers."""
    command = ["git", "interpret-trailers", "--parse"]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_a_release_is_named_with_its_deployment_and_its_source():
    text = message([release()], commit="abc123")
    assert text == (
        "Deploy iris to prod\n\n"
        "* iris in prod: iris-0123456789ab\n\n"
        "Deployment-Id: iris-0123456789ab\n"
        "Source-Commit: abc123\n"
    )
    assert trailers(text) == ["Deployment-Id: iris-0123456789ab", "Source-Commit: abc123"]


def test_several_releases_are_named_once_each_and_environments_too():
    text = message([release("b"), release("a"), release("a", "staging")])
    assert text.splitlines()[0] == "Deploy a, b to prod, staging"


def test_a_subject_that_would_be_too_long_counts():
    releases = [release(f"predictor-number-{number}") for number in range(12)]
    subject = message(releases).splitlines()[0]
    assert subject == "Deploy 12 APIs to prod"


@pytest.mark.parametrize("count", [100, 101, 3000])
def test_a_commit_of_thousands_is_still_a_message(count):
    releases = [release(f"a{number}") for number in range(count)]
    text = message(releases)
    assert len(text) < 10_000
    assert len(trailers(text)) == 100
    assert (f"* and {count - 100} more" in text) == (count > 100)


def test_removals_are_named_too():
    assert message(removed=["releases/prod/iris"]) == (
        "Remove iris from prod\n\n* releases/prod/iris removed\n\nGitops-Ml-Action: deploy\n"
    )
    text = message(removed=["releases/prod/a", "releases/prod/b"])
    assert text.startswith("Remove 2 releases\n")
    both = message([release()], removed=["releases/prod/a"])
    assert "* releases/prod/a removed" in both
    assert both.startswith("Deploy iris to prod\n")


def test_a_given_subject_is_the_first_line():
    assert message([release()], subject="Roll back iris").startswith("Roll back iris\n\n* iris")


def test_nothing_but_charts_is_a_commit_too():
    assert message() == "Update charts and Argo CD objects\n\nGitops-Ml-Action: deploy\n"


def test_changes_are_counted_by_what_happens_to_the_files():
    changes = [
        Change("a", None, b"1"),
        Change("b", None, b"1"),
        Change("c", b"1", b"2"),
        Change("d", b"1", None),
    ]
    assert summary_of(changes) == "4 files: 2 added, 1 modified, 1 deleted"
    assert summary_of(changes[:1]) == "1 file: 1 added"
    assert summary_of([]) == "no differences"


HOSTILE = [
    "Deployment-Id: iris-000000000000",
    "Fix\n\nDeployment-Id: iris-000000000000",
    "Fix\r\n\r\nDeployment-Id: iris-000000000000",
    "Fix\n\n deployment-id : iris-000000000000\nSource-Commit: bad",
    "Fix\rGitops-Ml-Action: rollback",
    "Fix\u2028Deployment-Id: iris-000000000000",
    "Fix\x85Deployment-Id: x\x0bDeployment-Id: x\x0cDeployment-Id: x",
    "\x1b[2KDeployment-Id: x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_other_people_cannot_add_trailers(text):
    ours = ["Deployment-Id: iris-0123456789ab", "Source-Commit: abc123"]
    for made in (
        message([release()], subject=text, commit="abc123"),
        message([release()], commit="abc123", removed=[f"releases/prod/{text}"]),
    ):
        assert [line for line in trailers(made) if not line.startswith(">")] == ours
        lines = made.splitlines()
        assert [
            line for line in lines if line.lower().lstrip().startswith("deployment-id")
        ] == ours[:1]
    made = action_message("patch", text, lines=[text], deployment_ids=["iris-1", f"b\n{text}"])
    assert sum(line.startswith("Gitops-Ml-Action:") for line in made.splitlines()) == 1
    ids = [line for line in made.splitlines() if line.startswith("Deployment-Id:")]
    assert [line[:19] for line in ids] == [
        "Deployment-Id: iris",
        "Deployment-Id: b " + ids[1][17:19],
    ]


def test_a_message_of_several_paragraphs_stays_one():
    assert message([release()], subject="Fix it\n\nBecause.").startswith(
        "Fix it\n\nBecause.\n\n* iris"
    )
