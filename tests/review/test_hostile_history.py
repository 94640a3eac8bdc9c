"""A change that tries to choose what it is compared with, where its review goes, or how long that takes."""

from __future__ import annotations

import pytest

from gitops_ml.git import source_tree
from gitops_ml.review import read_states
from tests.support.git_servers import git
from tests.support.source_changes import Source

pytest.importorskip("helm_python")


@pytest.mark.parametrize("other", ["refs/tags/origin/main", "refs/heads/origin/main"])
def test_a_name_of_several_commits_is_no_base(victim, other):
    """Git takes a tag `origin/main` for the branch of the server: the author of a tag would bring the rules."""
    folder, source = victim.source.folder, victim.source
    git("update-ref", "refs/remotes/origin/main", "main", cwd=folder)
    git("update-ref", other, "main", cwd=folder)
    source.configures("policy.hosts", ["*.example.org", "*.example.com"])
    source.commits()
    assert victim.stays_safe("--base=origin/main").code in (0, 7)
    git("update-ref", other, "change", cwd=folder)
    done = victim.stays_safe("--base=origin/main")
    assert (done.code, done.stdout) == (2, "")
    names = ", ".join(sorted((other, "refs/remotes/origin/main")))
    assert f"the name of several commits: {names}; name one of them in full" in done.stderr
    assert victim.stays_safe("--base=refs/remotes/origin/main").code in (0, 7)


def test_a_tag_that_is_named_like_a_commit_is_no_base(victim):
    folder = victim.source.folder
    start = git("rev-parse", "main", cwd=folder)
    victim.source.sets("iris", "autoscaling.max_replicas", 9)
    victim.source.commits()
    for name in (start[:7], start):
        git("update-ref", f"refs/tags/{name}", "change", cwd=folder)
    short, whole = victim.stays_safe(f"--base={start[:7]}"), victim.stays_safe(f"--base={start}")
    assert (short.code, "several commits" in short.stderr) == (2, True)
    assert "updates iris" in whole.stdout


def test_grafts_of_the_clone_move_no_base(victim):
    """Else an old commit would be the base, and what was merged since part of the change."""
    source = victim.source
    old = git("rev-parse", "main", cwd=source.folder)
    source.sets("forest", "autoscaling.max_replicas", 7)
    source.commits()
    git("branch", "-f", "main", cwd=source.folder)
    source.sets("iris", "autoscaling.max_replicas", 9)
    head = source.commits()
    (source.folder / ".git" / "info" / "grafts").write_text(f"{head} {old}\n")
    assert "forest" not in victim.stays_safe().stdout


def test_the_change_does_not_choose_where_its_review_is_posted(victim, listener, monkeypatch):
    """In a CI service that names no repository, the project file does: that of the base."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BITBUCKET_URL"):
        monkeypatch.delenv(name, raising=False)
    there = {
        "repository": f"http://127.0.0.1:{listener.port}/acme/shop.git",
        "forge": {"type": "gitea"},
        "token_env": "GITOPS_TOKEN",
    }
    victim.source.configures("source", there)
    victim.source.commits()
    posted = ("--offline", "--comment", "--pull-request", "1")
    done = victim.stays_safe(*posted)
    assert (done.code, listener.connections) == (2, 0)
    git("branch", "-f", "main", cwd=victim.source.folder)
    victim.checks(*posted)
    assert listener.connections > 0


def test_a_folder_that_the_change_makes_a_link_is_not_checked(victim):
    """It would lead to a project of the change, whose rules hold where the base has none."""
    source = victim.source
    (source.folder / "ml").symlink_to("iris")
    source.commits()
    done = victim.stays_safe("ml")
    assert (done.code, "ml is a link" in done.stderr) == (2, True)


def test_rules_that_the_change_brings_itself_are_named(victim):
    source = victim.source
    (source.folder / "gitops-ml.yaml").unlink()
    source.commits()
    git("branch", "-f", "main", cwd=source.folder)
    source.writes()
    assert "the rules are those of the change itself" in victim.stays_safe().stdout


def many_paths(source: Source) -> str:
    """A commit of a few kilobytes with 10^12 files."""
    blob = git("hash-object", "-w", "--stdin", cwd=source.folder, input="x")
    entries = "".join(f"100644 blob {blob}\t{n}\0" for n in range(10))
    for _ in range(11):
        tree = git("mktree", "-z", cwd=source.folder, input=entries)
        entries = "".join(f"040000 tree {tree}\t{n}\0" for n in range(10))
    top = git("mktree", "-z", cwd=source.folder, input=entries)
    return git("commit-tree", top, "-p", "main", "-m", "x", cwd=source.folder)


def many_manifests(source: Source) -> str:
    for number in range(20):
        source.text(f"more/{number}/api.yaml", f"# {number}\n" + "#" * 100_000)
    return source.commits()


def many_bytes(source: Source) -> str:
    for number in range(20):
        source.text(f"iris/{number}.bin", bytes([number]) * 100_000)
    return source.commits()


BOMBS = {
    "paths": (many_paths, source_tree, "_LONGEST_LISTING", "the paths of commit"),
    "manifests": (many_manifests, read_states, "_MOST_TEXT", "the manifests before and after"),
    "files": (many_bytes, read_states, "_MOST_WRITTEN", "have 2,0"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_takes_little_in_git_and_much_beside_it_is_refused(victim, monkeypatch, kind):
    """With a limit of a megabyte in place of that of large projects."""
    commit, module, limit, words = BOMBS[kind]
    head = commit(victim.source)
    monkeypatch.setattr(module, limit, 1 << 20)
    done = victim.stays_safe("--head", head)
    assert (done.code, words in done.stderr) == (2, True), done
