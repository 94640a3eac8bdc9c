"""`gitops-ml comment`: the text of another job, as data, on the right pull request."""

from __future__ import annotations

import pytest

from tests.forge.test_ci import variables
from tests.support.forges.running import KINDS, adapter, branch, forge_running, proposal
from tests.support.git_servers import TOKEN
from tests.support.person import predictor_api

TEXT = "<!-- gitops-ml: check -->\n## 1 release changes\n\nAsk @ann, see [this](https://evil.example/x).\n"


@pytest.fixture(params=KINDS)
def forge(request, tmp_path):
    with forge_running(request.param, tmp_path / "forge") as running:
        branch(running)
        adapter(running).open(proposal())
        yield running


@pytest.fixture
def job(forge, ann, monkeypatch):
    """Ann's folder is that of a CI job of the forge; Bitbucket's CI needs the project file."""
    if forge.prefix == "/rest":
        source = {
            "repository": f"{forge.url}/scm/{forge.repository}.git", "token_env": "FORGE_TOKEN",
            "forge": {"type": "bitbucket"},
        }  # fmt: skip
        ann.configures(source=source)
        monkeypatch.setenv("FORGE_TOKEN", TOKEN)
        monkeypatch.setenv("bamboo_repository_pr_key", "1")
    for name, value in variables(forge).items() if forge.prefix != "/rest" else ():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GITHUB_REF", "refs/pull/1/merge")
    monkeypatch.setenv("CI_MERGE_REQUEST_IID", "1")
    (ann.project / "check.md").write_text(TEXT)
    return ann


def test_it_is_posted_on_the_pull_request_of_the_job_and_updated(forge, job):
    first = job.runs("comment", "check.md")
    assert first.out.startswith("created the comment of pull request 1"), first
    (job.project / "check.md").write_text("Now two.\n")
    assert job.runs("comment", "check.md", "-o", "json").json["action"] == "updated"
    (note,) = forge.notes
    assert note.body.endswith("Now two.\n")


@pytest.mark.parametrize("forge", ["github"], indirect=True)
def test_the_text_is_data(forge, job):
    job.runs("comment", "check.md")
    (note,) = forge.notes
    assert "## 1 release changes" in note.body
    assert "@ann" not in note.body
    assert note.body.count("gitops-ml: check") == 1
    assert "](https://" not in note.body


@pytest.mark.parametrize("forge", ["github"], indirect=True)
def test_a_text_about_another_commit_is_not_posted(forge, job):
    head = forge.pulls[0].commit
    refused = job.runs("comment", "check.md", "--commit", "0" * 40)
    assert (refused.code, forge.notes) == (5, [])
    assert f"the head of pull request 1 is {head}" in refused.err
    assert job.runs("comment", "check.md", "--commit", head).code == 0


@pytest.mark.parametrize("forge", ["github"], indirect=True)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "not a text in UTF-8"),
        (b"x" * ((1 << 20) + 1), "at most 1,048,576 are read"),
    ],
    ids=["empty", "blank", "binary", "large"],
)
def test_what_is_no_report_is_not_posted(forge, job, content, words):
    (job.project / "check.md").write_bytes(content)
    result = job.runs("comment", "check.md")
    assert (result.code, forge.notes) == (2, [])
    assert words in result.err


@pytest.mark.parametrize("forge", ["github"], indirect=True)
@pytest.mark.parametrize("target", ["/proc/self/environ", "real.md"])
def test_a_link_is_not_posted(forge, job, target):
    """The environment of the job that comments has a token."""
    (job.project / "real.md").write_text(TEXT)
    (job.project / "check.md").unlink()
    (job.project / "check.md").symlink_to(target)
    result = job.runs("comment", "check.md")
    assert (result.code, forge.notes, "is a link" in result.err) == (2, [], True)


def test_without_a_pull_request_the_option_is_named(ann, monkeypatch):
    monkeypatch.delenv("GITHUB_REF", raising=False)
    monkeypatch.delenv("CI_MERGE_REQUEST_IID", raising=False)
    (ann.project / "check.md").write_text(TEXT)
    result = ann.runs("comment", "check.md")
    assert (result.code, "--pull-request" in result.err) == (2, True)
    assert ann.runs("comment", "check.md", "--commit", "main", "--pull-request", "1").code == 2


def test_check_posts_its_report_and_updates_it(forge, job):
    job.has(predictor_api("iris"))
    if forge.prefix != "/rest":
        job.configures()
    job.keeps_source_in_git()
    for most in (7, 8):
        job.has(predictor_api("iris", autoscaling={"max_replicas": most}))
        result = job.runs("check", "--base", "HEAD", "--offline", "--comment")
        assert result.code == 0, result
    assert "updated the comment of pull request 1" in result.err
    (note,) = forge.notes
    assert note.body.count("gitops-ml: check") == 1
    assert "8" in note.body
    assert "iris" in note.body
