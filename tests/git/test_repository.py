from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gitops_ml.delivery.push import CommitPlan, deliver
from gitops_ml.errors import Refused, RepositoryMoved, ServerFailed, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.failures import connection_failure
from gitops_ml.git.program import GitProgram, GitResult
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.git.repository import GitRepository
from gitops_ml.gitops.commit_message import foreign_commits, marked
from gitops_ml.project.project import ForgeSpec, SourceSpec
from gitops_ml.system.cache import Seal
from tests.git.conftest import AUTHOR, add, opened
from tests.support.fakes import blob_id
from tests.support.git_servers import bare_repository, commit_files, git

if TYPE_CHECKING:
    from pathlib import Path


def clone_folder(tmp_path: Path) -> Path:
    (folder,) = (path for path in (tmp_path / "cache" / "git").iterdir() if path.is_dir())
    return folder


def files_of(bare: Path, branch: str = "main") -> list[str]:
    return git("ls-tree", "-r", "--name-only", branch, cwd=bare).splitlines()


def test_a_snapshot_tells_paths_blob_ids_and_contents(bare, repository):
    head = commit_files(bare, {"releases/prod/iris/values.yaml": b"a: \xc3\xa9\r\n", "x/ä b": ""})

    snapshot = repository.fetch()

    assert snapshot.commit == head
    assert snapshot.blob_ids("releases/") == {
        "releases/prod/iris/values.yaml": blob_id(b"a: \xc3\xa9\r\n")
    }
    assert sorted(snapshot.blob_ids()) == ["README.md", "releases/prod/iris/values.yaml", "x/ä b"]
    assert snapshot.read(["x/ä b", "README.md", "missing"]) == {
        "x/ä b": b"",
        "README.md": b"hello\n",
    }
    assert snapshot.read([]) == {}


def test_a_commit_adds_modifies_and_deletes_and_moves_nothing_until_it_is_pushed(bare, repository):
    before = commit_files(bare, {"gone/a": "a", "gone/b": "b", "kept": "k", "changed": "old"})
    base = repository.fetch()
    changes = [
        Change("gone/a", b"a", None),
        Change("gone/b", b"b", None),
        Change("gone", None, b"a file now"),
        Change("changed", b"old", b"new"),
        Change('deep/"odd" \\n\nname', None, b"\0\xff"),
    ]

    commit = repository.commit(
        base, changes, message="Release iris\n\nDeployment-Id: i-1", author=AUTHOR
    )

    assert git("rev-parse", "main", cwd=bare) == before
    repository.push(commit)
    assert git("rev-parse", "main", cwd=bare) == commit
    snapshot = repository.fetch()
    assert snapshot.read(snapshot.blob_ids()) == {
        "README.md": b"hello\n",
        "gone": b"a file now",
        "kept": b"k",
        "changed": b"new",
        'deep/"odd" \\n\nname': b"\0\xff",
    }
    assert git("log", "-1", "--format=%an <%ae> %cn <%ce> %P%n%B", cwd=bare) == (
        f"Ann Ünal <ann@example.org> Ann Ünal <ann@example.org> {before}\n"
        "Release iris\n\nDeployment-Id: i-1"
    )
    assert git("log", "-1", "--format=%(trailers:key=Deployment-Id,valueonly)", cwd=bare) == "i-1"
    git("fsck", "--full", "--strict", cwd=bare)


def test_the_same_commit_at_the_same_time_has_the_same_id(bare, tmp_path):
    repository = opened(bare, tmp_path, clock=lambda: 1_700_000_000.5)
    base = repository.fetch()

    ids = {
        repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
        for _ in range(2)
    }

    assert len(ids) == 1


def test_the_first_commit_of_an_empty_repository_makes_the_branch(tmp_path):
    bare = bare_repository(tmp_path / "empty.git")
    repository = opened("empty.git", tmp_path)

    base = repository.fetch()
    assert (base.commit, base.blob_ids(), base.read(["a"])) == (None, {}, {})
    add(repository, "a/b")

    assert files_of(bare) == ["a/b"]
    assert git("rev-list", "--count", "main", cwd=bare) == "1"


def test_two_first_commits_do_not_overwrite_each_other(tmp_path):
    bare = bare_repository(tmp_path / "empty.git")
    repository = opened(bare, tmp_path)
    base = repository.fetch()
    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    commit_files(bare, {"b": "b"})

    with pytest.raises(RepositoryMoved, match=r"fetch first"):
        repository.push(commit)
    assert files_of(bare) == ["b"]


def test_a_missing_branch_names_those_that_there_are(bare, tmp_path):
    git("branch", "-m", "main", "trunk", cwd=bare)
    git("branch", "alpha", "trunk", cwd=bare)

    with pytest.raises(
        UsageError, match=r"no branch 'main'; it has trunk, alpha\. .*gitops\.branch"
    ):
        opened(bare, tmp_path).fetch()


def test_a_branch_that_was_renamed_after_the_first_fetch_is_named_too(bare, repository):
    repository.fetch()
    git("branch", "-m", "main", "trunk", cwd=bare)

    with pytest.raises(UsageError, match="it has trunk"):
        repository.fetch()


def test_another_branch_than_the_default_is_followed(bare, tmp_path):
    head = commit_files(bare, {"x": "x"}, branch="env/prod")
    repository = opened(bare, tmp_path, branch="env/prod")

    assert repository.fetch().commit == head
    add(repository, "y")
    assert files_of(bare, "env/prod") == ["x", "y"]
    assert files_of(bare) == ["README.md"]


def test_somebody_who_was_faster_keeps_their_commit(bare, repository):
    base = repository.fetch()
    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    other = commit_files(bare, {"b": "b"})

    with pytest.raises(RepositoryMoved, match=r"main of .* moved meanwhile"):
        repository.push(commit)
    assert git("rev-parse", "main", cwd=bare) == other


def test_a_branch_that_was_rewritten_is_followed(bare, repository):
    commit_files(bare, {"wrong": "x"})
    repository.fetch()
    git("update-ref", "refs/heads/main", "main~1", cwd=bare)
    rewritten = commit_files(bare, {"right": "x"})

    assert repository.fetch().commit == rewritten


def test_a_lock_that_another_push_holds_on_the_server_means_moved(bare, repository):
    base = repository.fetch()
    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    (bare / "refs" / "heads" / "main.lock").touch()

    with pytest.raises(
        RepositoryMoved, match=r"Unable to create '.*/main\.lock': File exists.*remove that"
    ):
        repository.push(commit)


@pytest.mark.parametrize(
    "words",
    [
        "GL-HOOK-ERR: main is protected, open a merge request",
        # As git itself, which would mean that the branch moved, and that it is tried again.
        "! [rejected] main (fetch first)", "non-fast-forward", "error: cannot lock ref", "stale info",
    ],
)  # fmt: skip
def test_a_hook_that_declines_is_a_refusal_in_the_hooks_own_words(bare, repository, words):
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(Refused) as caught:
        add(repository, "a")
    assert words in str(caught.value)
    assert "pre-receive hook declined" in str(caught.value)
    assert "hint:" not in str(caught.value)


def test_a_hook_that_writes_without_end_is_shortened(bare, repository):
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\nyes 'no such luck' | head -c 300000 >&2; echo the end >&2; exit 1\n"
    )
    hook.chmod(0o755)

    with pytest.raises(Refused) as caught:
        add(repository, "a")
    assert "no such luck" in str(caught.value)
    assert "the end" in str(caught.value)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("has_commits", [True, False])
def test_a_repository_with_sha256_ids_is_followed(tmp_path, has_commits):
    folder = tmp_path / "gitops.git"
    git("init", "-q", "--bare", "-b", "main", "--object-format=sha256", folder, cwd=tmp_path)
    if has_commits:
        commit_files(folder, {"README.md": "hello\n"})
    repository = opened(folder, tmp_path)

    def plan(base):
        return CommitPlan(changes=(Change("a", None, b"x\n"),), message="m")

    delivered = deliver(repository, plan, author=AUTHOR)
    assert len(delivered.commit) == 64
    assert opened(folder, tmp_path).fetch().read(["a"]) == {"a": b"x\n"}
    assert files_of(folder) == (["README.md", "a"] if has_commits else ["a"])


def test_a_configuration_that_git_cannot_read_is_named(bare, tmp_path):
    """GitPython starts git when it is imported, which only a new process shows."""
    (tmp_path / ".gitconfig").write_text("[core\n")
    code = (
        "import sys; from gitops_ml.git.program import _gitpython\n"
        "from gitops_ml.errors import ProgramFailed; from pathlib import Path; import os\n"
        "try: _gitpython(Path('/'), os.environ)\n"
        "except ProgramFailed as error: print(error)\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_CONFIG")}
    environ["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert f"bad config line 1 in file {tmp_path}/.gitconfig" in done.stdout


def test_a_repository_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServerFailed, match=r"nowhere\.git cannot be read: .*nowhere\.git"):
        opened("nowhere.git", tmp_path).fetch()


@pytest.mark.parametrize("side", ["", "remote: "])
def test_a_full_disk_of_the_cache_is_no_fault_of_the_repository(tmp_path, side):
    text = f"{side}fatal: unable to write loose object file: No space left on device\n"
    remote = Remote.parse("https://example.org/gitops.git", folder=tmp_path)
    failure = connection_failure(GitResult(("git", "fetch"), 128, b"", text), remote, Credentials())
    assert ("GITOPS_ML_CACHE" in str(failure)) == (side == "")


def test_file_urls_work_like_paths(bare, tmp_path):
    repository = opened(f"file://{bare}", tmp_path)
    add(repository, "a")
    assert files_of(bare) == ["README.md", "a"]


def test_a_checkout_that_somebody_works_in_is_not_touched(bare, tmp_path):
    """The project itself may be a clone of the GitOps repository."""
    git("clone", "-q", bare, tmp_path / "work")
    (tmp_path / "work" / "README.md").write_text("being edited\n")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*")}

    add(opened(bare, tmp_path), "a")

    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*")} == before


def test_variables_of_a_hook_that_we_run_in_do_not_lead_astray(
    bare, repository, tmp_path, monkeypatch
):
    git("init", "-q", tmp_path / "other")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_NAMESPACE", "elsewhere")

    add(repository, "a")

    monkeypatch.undo()
    assert files_of(bare) == ["README.md", "a"]
    assert not list((tmp_path / "other" / ".git" / "objects").glob("??"))


def test_settings_of_the_user_about_work_trees_and_hooks_do_not_matter(
    bare, repository, tmp_path, monkeypatch
):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    git("config", "core.hooksPath", "hooks", cwd=bare)  # the server is this machine, too
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[core]\n hooksPath = {hooks}\n autocrlf = true\n eol = crlf\n safecrlf = true\n"
        "[push]\n gpgSign = if-asked\n followTags = true\n default = nothing\n"
        "[fetch]\n prune = true\n fsckObjects = true\n[safe]\n bareRepository = explicit\n"
        "[filter \"lfs\"]\n clean = false\n smudge = false\n process = false\n required = true\n"
        "[init]\n defaultBranch = odd\n templateDir = /nowhere\n[color]\n ui = always\n"
        "[url \"nowhere:\"]\n insteadOf = nothing\n[i18n]\n commitEncoding = latin-1\n"
    )  # fmt: skip
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    commit_files(
        bare, {".gitattributes": "* text=auto eol=crlf\n*.bin filter=lfs\n", "m.bin": "pointer\n"}
    )

    add(repository, "a.txt", b"one\ntwo\r\n", message="Grüße")

    snapshot = repository.fetch()
    assert snapshot.read(["a.txt", "m.bin"]) == {"a.txt": b"one\ntwo\r\n", "m.bin": b"pointer\n"}
    assert not (tmp_path / "hook-ran").exists()
    assert git("log", "-1", "--format=%s", cwd=bare) == "Grüße"


def test_submodules_links_and_modes_stay_as_they_are(bare, repository, tmp_path):
    work = tmp_path / "work"
    git("clone", "-q", bare, work)
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / "link").symlink_to("README.md")
    git("add", "-A", cwd=work)
    gitlink = f"160000,{git('rev-parse', 'HEAD', cwd=work)},vendor/sub"
    git("update-index", "--add", "--cacheinfo", gitlink, cwd=work)
    git("commit", "-q", "-m", "x", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    before = git("ls-tree", "-r", "main", cwd=bare).splitlines()

    assert sorted(repository.fetch().blob_ids()) == ["README.md", "link", "run.sh"]
    add(repository, "vendor/new")

    after = git("ls-tree", "-r", "main", cwd=bare).splitlines()
    assert [line for line in after if not line.endswith("vendor/new")] == before


def test_a_shallow_repository_can_be_followed(bare, tmp_path):
    for number in range(5):
        commit_files(bare, {"n": str(number)})
    shallow = tmp_path / "shallow.git"
    git("clone", "-q", "--bare", "--depth=2", f"file://{bare}", shallow)
    repository = opened(shallow, tmp_path)

    for path in ("a", "b"):
        add(repository, path)

    assert files_of(shallow) == ["README.md", "a", "b", "n"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda f: (f / "HEAD").unlink(), id="no HEAD"),
        pytest.param(lambda f: (f / "config").write_text("[core\n"), id="broken config"),
        pytest.param(lambda f: shutil.rmtree(f / "objects"), id="no objects"),
        pytest.param(lambda f: shutil.rmtree(f / "refs"), id="no refs"),
        pytest.param(lambda f: spoil(f / "refs", "main", b""), id="empty ref"),
        pytest.param(lambda f: spoil(f / "refs", "main", b"f" * 40 + b"\n"), id="dangling ref"),
        pytest.param(lambda f: spoil(f / "objects", "*", b""), id="empty objects"),
        pytest.param(lambda f: spoil(f / "objects", "*", b"garbage" * 9), id="garbled objects"),
        pytest.param(lambda f: (shutil.rmtree(f), f.write_text("x")), id="a file"),
    ],
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "loose"])
def test_a_damaged_clone_is_made_anew(bare, tmp_path, damage, packed):
    add(opened(bare, tmp_path), "first")
    folder = clone_folder(tmp_path)
    if packed:
        git("gc", "-q", cwd=folder)
    damage(folder)
    repository = opened(bare, tmp_path)

    snapshot = repository.fetch()
    assert snapshot.read(["first", "README.md"]) == {"first": b"x\n", "README.md": b"hello\n"}
    deliver(
        repository,
        lambda base: CommitPlan(changes=(Change("second", None, b"y"),), message="Add second"),
        author=AUTHOR,
    )

    assert files_of(bare) == ["README.md", "first", "second"]
    git("fsck", "--full", cwd=bare)


def spoil(folder: Path, name: str, content: bytes) -> None:
    for path in folder.rglob(name):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(content)


def test_a_clone_that_breaks_before_the_commit_is_made_anew_and_that_is_told(bare, tmp_path):
    lines: list[str] = []
    repository = opened(bare, tmp_path, progress=lines.append)
    base = repository.fetch()
    shutil.rmtree(clone_folder(tmp_path) / "objects")

    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    repository.push(commit)

    assert files_of(bare) == ["README.md", "a"]
    assert lines == [
        "making a clone of the GitOps repository in the cache",
        "the clone in the cache is damaged; it is made again",
        "making a clone of the GitOps repository in the cache",
    ]


def a_configuration_of_theirs(folder: Path) -> None:
    git("config", "core.sshCommand", "touch /tmp/poison", cwd=folder)


def no_seal(folder: Path) -> None:
    (folder / "gitops-ml-seal").unlink()


def a_seal_of_theirs(folder: Path) -> None:
    mark = Seal(b"theirs").mark("clone", folder.name, (folder / "config").read_bytes())
    (folder / "gitops-ml-seal").write_text(mark)


def a_link(folder: Path) -> None:
    folder.rename(folder.parent.parent / "theirs")
    folder.symlink_to(folder.parent.parent / "theirs")


@pytest.mark.parametrize("harm", [a_configuration_of_theirs, no_seal, a_seal_of_theirs, a_link])
def test_a_clone_that_this_user_did_not_make_is_made_again(bare, tmp_path, harm):
    """Git hashes no object that it reads from its own clone, and runs what is configured there."""
    opened(bare, tmp_path).fetch()
    folder, lines = clone_folder(tmp_path), list[str]()
    (folder / "theirs").touch()
    harm(folder)
    add(opened(bare, tmp_path, progress=lines.append), "a")
    assert lines == [
        "the clone in the cache was not made by this user; it is removed",
        "making a clone of the GitOps repository in the cache",
    ]
    assert (folder.is_symlink(), (folder / "theirs").exists()) == (False, False)
    lines.clear()
    add(opened(bare, tmp_path, progress=lines.append), "b")
    assert lines == []


def test_clones_of_other_keys_are_left_alone_while_they_are_used_and_forgotten_later(
    bare, tmp_path
):
    opened(bare, tmp_path).fetch()
    own = clone_folder(tmp_path)
    name = own.name.rpartition("-")[0]
    for other, age in ((f"{name}-00000000", 10), (f"{name}-11111111", 7200), (name, 7200),
                       (f"{name}-of-another", 7200)):  # fmt: skip
        (own.parent / other).mkdir()
        when = time.time() - age
        os.utime(own.parent / other, (when, when))
    opened(bare, tmp_path).fetch()
    left = {path.name for path in own.parent.iterdir() if path.is_dir()}
    assert left == {own.name, f"{name}-00000000", f"{name}-of-another"}


def test_a_clone_that_breaks_before_the_push_asks_for_another_try(bare, repository, tmp_path):
    base = repository.fetch()
    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    shutil.rmtree(clone_folder(tmp_path))

    with pytest.raises(RepositoryMoved, match="was damaged"):
        repository.push(commit)


@pytest.mark.parametrize("part", ["branch", "branch^{tree}"])
def test_a_clone_that_breaks_before_a_branch_is_read_is_made_anew(bare, repository, tmp_path, part):
    base = repository.fetch()
    commit = repository.commit(base, [Change("a", None, b"a")], message="m", author=AUTHOR)
    repository.push_branch("branch", commit, expected=None)
    folder, id = clone_folder(tmp_path), git("rev-parse", part, cwd=bare)
    repository.log(base, "a")  # with an index, which remembers commits that are not there
    git("commit-graph", "write", "--reachable", cwd=folder)
    spoil(folder / "objects" / id[:2], id[2:], b"garbage" * 9)

    branch = repository.read_branch("branch", base=base)

    assert branch is not None
    assert (branch.commit, [each.id for each in branch.commits]) == (commit, [commit])
    assert branch.difference == {"a": (None, blob_id(b"a"))}


def test_a_branch_may_have_been_brought_up_to_date_many_times(bare, repository):
    base = repository.fetch()
    changes = [Change("a", None, b"a")]
    message = marked("Propose a", changes)
    head = repository.commit(base, changes, message=message, author=AUTHOR)
    repository.push_branch("branch", head, expected=None)
    tree = git("rev-parse", f"{head}^{{tree}}", cwd=bare)
    for _ in range(25):
        parents = ("-p", head, "-p", git("rev-parse", "main", cwd=bare))
        head = git("commit-tree", *parents, "-m", "Merge main", tree, cwd=bare)
    git("update-ref", "refs/heads/branch", head, cwd=bare)

    branch = repository.read_branch("branch", base=base)

    assert branch is not None
    assert len(branch.commits) == 26
    assert foreign_commits(branch) == ()


def test_git_speaks_english_whatever_the_user_speaks(bare, tmp_path):
    environ = {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "de"}
    program = GitProgram(
        tmp_path / "clone", Remote.parse(str(bare), folder=tmp_path),
        credentials=Credentials(), environ=environ,
    )  # fmt: skip
    given = program.local("-c", "alias.shown=!env", "shown").stdout.decode().splitlines()
    assert {"LC_ALL=C", "LANGUAGE=", "LANG=de_DE.UTF-8"} <= set(given)


def test_locks_and_half_made_clones_of_a_killed_process_are_swept_away(bare, tmp_path):
    add(opened(bare, tmp_path), "first")
    folder = clone_folder(tmp_path)
    for name in ("config.lock", "HEAD.lock", "packed-refs.lock", "refs/remotes/origin/main.lock"):
        (folder / name).touch()
    (folder / "refs" / "gitops-ml" / "pending.lock").touch()
    of_a_full_disk = (folder / "fast_import_crash_1", folder / "objects" / "pack" / "tmp_idx_x")
    for path in of_a_full_disk:
        path.touch()
    folder.with_name(folder.name + ".new-12345678").mkdir()

    add(opened(bare, tmp_path), "second")

    assert files_of(bare) == ["README.md", "first", "second"]
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert not any(path.exists() for path in of_a_full_disk)


def test_many_small_commits_are_packed_by_us_and_not_by_surprise(bare, repository, tmp_path):
    folder = None
    for number in range(60):
        commit_files(bare, {f"f{n}": f"{number}-{n}" for n in range(120)})
        repository.fetch()
        folder = folder or clone_folder(tmp_path)
    assert len(list((folder / "objects" / "pack").glob("*.pack"))) < 55
    assert len(repository.fetch().blob_ids()) == 121


def test_nobody_else_may_read_the_clone(repository, tmp_path):
    repository.fetch()
    assert clone_folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_repositories_of_one_name_have_clones_of_their_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        bare_repository(tmp_path / name / "gitops.git", {name: name})
        assert sorted(opened(f"{name}/gitops.git", tmp_path).fetch().blob_ids()) == [name]


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "a/./b", ".git/config", "a/.GIT/x", "", "a\0b"]
)
def test_a_path_that_leaves_the_repository_is_a_bug_of_the_caller(repository, path):
    with pytest.raises(ValueError, match="is not a path inside"):
        repository.commit(repository.fetch(), [Change(path, None, b"")], message="m", author=AUTHOR)


def test_git_that_is_not_installed_is_named(bare, tmp_path):
    script = (
        "from tests.git.test_repository import opened\n"
        "from pathlib import Path\n"
        f"opened({str(bare)!r}, Path({str(tmp_path)!r})).fetch()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/nowhere", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ProgramFailed: git ended with exit code 127:\ngit is not on PATH" in done.stderr


def named(repository: str) -> SourceSpec:
    return SourceSpec(
        repository=repository, branch="main", directory=".", username=None, token_env=None,
        forge=ForgeSpec(type="none", api_url=None, repository=None, token_env=None),
    )  # fmt: skip


HOOKS = ("pre-receive", "update", "post-receive", "post-update", "reference-transaction")


@pytest.mark.parametrize("section", ["gitops", "source"])
@pytest.mark.parametrize("address", ["evil.git", "../evil.git", "link", "file", "deep/../evil.git"])
def test_a_repository_that_the_source_brings_is_refused_and_runs_no_hook(
    tmp_path, section, address
):
    source = tmp_path / "source"
    project = source / "project"
    (project / "deep").mkdir(parents=True)
    git("init", "-q", ".", cwd=source)
    place = source / "evil.git" if address.startswith("..") else project / "evil.git"
    bare_repository(place, {"README.md": "hello\n"})
    (place / "hooks").mkdir(exist_ok=True)
    for name in HOOKS:
        (place / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
        (place / "hooks" / name).chmod(0o755)
    (project / "link").symlink_to(place)
    spec = named(place.as_uri() if address == "file" else address)
    with pytest.raises(
        UsageError, match=rf"{section}\.repository is .*, inside of the source folder .*/source:"
    ):
        GitRepository.from_spec(
            spec, folder=project, environ={"HOME": str(tmp_path)}, section=section
        )
    assert not (tmp_path / "hook-ran").exists()


def test_a_repository_beside_the_source_is_the_users_own(bare, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    git("init", "-q", ".", cwd=source)
    repository = GitRepository.from_spec(
        named("../gitops.git"), folder=source, environ={"HOME": str(tmp_path)}
    )
    assert repository.fetch().commit == git("rev-parse", "main", cwd=bare)


def test_what_somebody_else_has_at_a_path_is_not_written_over(bare, repository, tmp_path):
    other = bare_repository(tmp_path / "other.git", {"x": "x"})
    work = tmp_path / "work"
    git("clone", "-q", bare, work)
    git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other, "charts", cwd=work
    )
    (work / "deploy").mkdir()
    (work / "deploy" / "keep").write_text("keep")
    (work / "releases").symlink_to("deploy")
    (work / "argocd").write_text("a file")
    git("add", "--all", cwd=work)
    git("commit", "-q", "-m", "Before", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    before, base = git("ls-tree", "-r", "main", cwd=bare), repository.fetch()
    for path, what in {
        "charts/predictor/Chart.yaml": "a submodule at charts,",
        "charts": "a submodule at charts,",
        "releases/staging/iris/values.yaml": "a symbolic link at releases,",
        "releases": "a symbolic link at releases,",
        "argocd/root.yaml": "a file at argocd,",
    }.items():
        changes = [Change("fine", None, b"x"), Change(path, None, b"x")]
        with pytest.raises(UsageError, match=f"has {what} where {path} is to be written"):
            repository.commit(base, changes, message="m", author=AUTHOR)
    assert git("ls-tree", "-r", "main", cwd=bare) == before


def test_a_file_of_ours_may_become_a_folder(bare, repository):
    add(repository, "a")
    base = repository.fetch()
    changes = [Change("a", b"x\n", None), Change("a/b", None, b"b")]
    repository.push(repository.commit(base, changes, message="m", author=AUTHOR))
    assert files_of(bare) == ["README.md", "a/b"]
