"""The source repository that manifests come from: its commit and author."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.git.checkout import Checkout, Untrusted, find_checkout, read_state, read_user
from gitops_ml.gitops.release_yaml import Provenance
from gitops_ml.project.project import GitopsSpec
from gitops_ml.system.clean_text import without_credentials

_UNKNOWN = ("unknown", "unknown")
_NOT_INSTALLED = 127


def read_provenance(directory: Path, *, tool_version: str) -> Provenance:
    """The commit of ``directory``, its remote, and the author.

    Outside a Git repository, or before the first commit, what cannot be known is `None`. So it is
    where the repository is not one that git made, or cannot be read.
    """
    try:
        checkout = find_checkout(directory)
        author = _signature(_author(checkout))
        if checkout is None:
            return Provenance(None, None, False, author, tool_version)
        state = read_state(checkout, directory)
    except (ProgramFailed, Untrusted, OSError):
        return Provenance(None, None, None, _signature(_author(None)), tool_version)
    return Provenance(
        _origin(checkout), state.commit, state.is_dirty, author, tool_version, changed=state.changed
    )


def read_source(directory: Path) -> Mapping[str, str] | None:
    """``uri`` and, where it holds all of ``directory``, ``commit``: what an image's provenance names."""
    try:
        checkout = find_checkout(directory)
        uri = _origin(checkout) if checkout else None
        if checkout is None or uri is None:
            return None
        state = read_state(checkout, directory)
    except (ProgramFailed, Untrusted, OSError):
        return None
    is_whole = state.commit is not None and state.is_dirty is False
    return {"uri": uri, **({"commit": str(state.commit)} if is_whole else {})}


def _signature(author: tuple[str, str]) -> str:
    return f"{author[0]} <{author[1]}>"


def _origin(checkout: Checkout) -> str | None:
    """The address of the remote; `None` for a text that is not one."""
    if not checkout.url or not checkout.url.isprintable():
        return None
    try:
        urlsplit(checkout.url)
    except ValueError:
        return None
    return without_credentials(checkout.url)


def read_author(directory: Path, gitops: GitopsSpec | None) -> tuple[str, str]:
    """Name and address for commits: the project file's, else what git uses here.

    Raises:
        UsageError: neither has both; git refuses such a commit as well.
        ProgramFailed: git is not installed.
    """
    if gitops and gitops.author_name and gitops.author_email:
        return gitops.author_name, gitops.author_email
    try:
        checkout = find_checkout(directory)
    except (ProgramFailed, Untrusted, OSError):
        checkout = None
    name, email = _identity(checkout)
    if name and email:
        return name, email
    missing = " and ".join(what for what, has in (("name", name), ("address", email)) if not has)
    raise UsageError(
        f"the commit would have no author: git knows no {missing} of yours. Set user.name and user.email "
        "(`git config --global user.email you@example.org`), GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL, or "
        "gitops.author_name and gitops.author_email of the project file"
    )


def _author(checkout: Checkout | None) -> tuple[str, str]:
    """The author for a record of what was rendered; of a person that git does not know, the account."""
    try:
        name, email = _identity(checkout)
    except ProgramFailed:
        return _UNKNOWN
    account = _account()
    return (
        name or account or _UNKNOWN[0],
        email or (f"{account}@{platform.node()}" if account else _UNKNOWN[1]),
    )


def _identity(checkout: Checkout | None) -> tuple[str | None, str | None]:
    """Name and address that git would write into a commit, as far as they are set.

    Raises:
        ProgramFailed: git is not installed.
    """
    variables = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
    name, email = (os.environ.get(variable) for variable in variables)
    try:
        user = {} if name and email else read_user(checkout)
    except ProgramFailed as error:
        if error.returncode == _NOT_INSTALLED:
            raise
        user = {}
    user = {key: _printable(value) for key, value in user.items()}
    return (
        name or user.get("author.name") or user.get("user.name"),
        email or user.get("author.email") or user.get("user.email") or os.environ.get("EMAIL"),
    )


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return None
