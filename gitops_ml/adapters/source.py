"""The source repository that manifests come from: which commit, and whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml import process
from gitops_ml.core.clean_text import without_credentials
from gitops_ml.core.provenance import Provenance
from gitops_ml.errors import ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import git

    from gitops_ml.core.project import GitopsSpec

_UNKNOWN = ("unknown", "unknown")
_SECONDS = 60


def read_provenance(directory: Path, *, tool_version: str) -> Provenance:
    """The commit that ``directory`` is at, where it came from, and who is at the keyboard.

    Outside a Git repository, or before the first commit, what cannot be known is `None`.
    """
    if not _git_is_there():
        return Provenance(None, None, None, _signature(_UNKNOWN), tool_version)
    import git

    try:
        repository = git.Repo(directory, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return Provenance(None, None, False, _signature(_author(None)), tool_version)
    with repository:
        commit = repository.head.commit.hexsha if repository.head.is_valid() else None
        author = _signature(_author(repository))
        is_dirty = _is_dirty(directory)
        return Provenance(_origin(repository), commit, is_dirty, author, tool_version)


def read_source(directory: Path) -> Mapping[str, str] | None:
    """``uri`` and, where it holds all of ``directory``, ``commit``: what an image's provenance names.

    The program is asked, since a build takes no longer than GitPython takes to be imported.
    """

    def git(*arguments: str) -> str:
        answer = process.run(["git", *arguments], cwd=directory, timeout=_SECONDS)
        return answer.stdout.decode("utf-8", "replace").strip()

    try:
        remotes = git("remote").split()
        if not remotes:
            return None
        name = "origin" if "origin" in remotes else remotes[0]
        found = {"uri": without_credentials(git("remote", "get-url", name))}
        if not git("status", "--porcelain", "--untracked-files=normal", "--", "."):
            found["commit"] = git("rev-parse", "--verify", "HEAD")
    except ProgramFailed:
        return None
    return found


def _git_is_there() -> bool:
    """Whether the program git is; GitPython cannot even be imported without it."""
    try:
        import git  # noqa: F401
    except ImportError:
        return False
    return True


def _is_dirty(directory: Path) -> bool | None:
    """`None` where git does not want to look: files of another user (``safe.directory``)."""
    import git

    program = git.Git.GIT_PYTHON_GIT_EXECUTABLE or "git"
    # Not by GitPython: in a hook of another repository, git would look at that one.
    command = [program, "--no-optional-locks", "status", "--porcelain", "-z", "--", "."]
    try:
        return bool(process.run(command, cwd=directory).stdout)
    except ProgramFailed:
        return None


def _signature(author: tuple[str, str]) -> str:
    return f"{author[0]} <{author[1]}>"


def _origin(repository: git.Repo) -> str | None:
    remotes = {remote.name: remote for remote in repository.remotes}
    remote = remotes.get("origin") or next(iter(remotes.values()), None)
    return without_credentials(next(iter(remote.urls))) if remote else None


def read_author(directory: Path, gitops: GitopsSpec | None) -> tuple[str, str]:
    """Name and address for commits: the project file's, else what Git itself would take here."""
    if gitops and gitops.author_name and gitops.author_email:
        return gitops.author_name, gitops.author_email
    if not _git_is_there():
        return _UNKNOWN
    import git

    try:
        repository = git.Repo(directory, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return _author(None)
    with repository:
        return _author(repository)


def _author(repository: git.Repo | None) -> tuple[str, str]:
    import git

    actor = git.Actor.author(repository.config_reader() if repository else _user_settings())
    return actor.name or _UNKNOWN[0], actor.email or _UNKNOWN[1]


def _user_settings() -> git.GitConfigParser:
    """Git's settings outside any repository: the user's and the system's."""
    from git.config import GitConfigParser, get_config_path

    files = [get_config_path(level) for level in ("system", "user", "global")]
    return GitConfigParser(files, read_only=True)
