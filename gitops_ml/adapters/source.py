"""The source repository that manifests come from: which commit, and whose."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gitops_ml.core.render import Provenance


def read_provenance(directory: Path, *, tool_version: str) -> Provenance:
    """The commit that ``directory`` is at, where it came from, and who is at the keyboard.

    Outside a Git repository, or before the first commit, what cannot be known is `None`.
    """
    import git

    try:
        repository = git.Repo(directory, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return Provenance(None, None, False, _author(None), tool_version)
    with repository:
        commit = repository.head.commit.hexsha if repository.head.is_valid() else None
        is_dirty = repository.is_dirty(untracked_files=True, path=str(directory))
        return Provenance(
            _origin(repository), commit, is_dirty, _author(repository), tool_version
        )


def _origin(repository: object) -> str | None:
    remotes = {remote.name: remote for remote in repository.remotes}  # type: ignore[attr-defined]  # git.Repo, imported late
    remote = remotes.get("origin") or next(iter(remotes.values()), None)
    return without_credentials(next(iter(remote.urls))) if remote else None


def without_credentials(url: str) -> str:
    """``url`` without a user's password; ``git@host:path`` keeps its user, which is no secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _author(repository: object | None) -> str:
    """``Name <email>`` as Git itself would sign a commit here."""
    import git

    actor = git.Actor.author(repository.config_reader() if repository else None)  # type: ignore[attr-defined]  # git.Repo
    return f"{actor.name} <{actor.email}>"
