"""Turn the messages of git about a conversation with a server into errors."""

from __future__ import annotations

import re
import shlex

from gitops_ml.errors import GitopsMlError, Refused, RepositoryMoved, ServerFailed
from gitops_ml.git.program import GitResult
from gitops_ml.git.remote import Credentials, Remote

EXAMPLE = "https://github.com/acme/gitops.git"
"""The GitOps repository of a new project, until its author names one."""
_NO_ACCESS = re.compile(
    r"authentication failed|could not read (username|password)|terminal prompts disabled"
    r"|permission denied \(|access denied(?! or repository not exported)|returned error: 40[13]"
    r"|not granted|permission to .* denied|invalid credentials|service not enabled",
    re.I,
)
_NOT_WRITABLE = re.compile(r"access denied or repository not exported|permission denied", re.I)
_MOVED = re.compile(
    r"fetch first|non-fast-forward|stale info|failed to update ref|cannot lock ref|failed to lock"
    r"|incorrect old value|reference already exists|is at [0-9a-f]+ but expected",
    re.I,
)
_OTHER_IDS = re.compile(
    r"mismatched algorithms: client \w+; server (sha1|sha256)"
    r"|receiving end does not support this repository's hash algorithm"
)
_ASKS_FOR_A_NAME = re.compile(r"could not read Username for 'https?://([^'/]+)'")
_REMOTE_LINE = re.compile(r"^remote:(.*)$", re.M)
_PAGE = re.compile(r"https?://\S+")
_NOT_REWRITABLE = re.compile(r"\[remote rejected\].*non-fast-forward")
_WANTS_SIGNATURES = re.compile(
    r"(verified|valid) signature|(signed|unsigned) commit|not signed", re.I
)
_UNSIGNED = (
    "\nCommits are signed where `git config commit.gpgSign` is true, with the key of user.signingKey, which the "
    "forge has to know; or deliver by pull request, which the forge signs when it merges by squash"
)
_FULL = "No space left on device"
_NOISE = re.compile(r"^(hint:.*|To .*|Done|remote: *)$\n?", re.M)


def connection_failure(
    answer: GitResult, remote: Remote, credentials: Credentials, *, verb: str = "read"
) -> Refused | ServerFailed:
    """Why a conversation with the server failed."""
    text = _NOISE.sub("", answer.stderr).strip()
    hint = _hint(remote, text)
    if _NO_ACCESS.search(text) and not hint:
        remedy = _moved(remote, text, credentials) or _remedy(remote, credentials)
        return Refused(f"{remote} denies access: {text}\n{remedy}")
    why = text or f"git ended with {answer.status}"
    return ServerFailed(f"{remote} cannot be {verb}: {why}{hint}")


def _hint(remote: Remote, text: str) -> str:
    """What a new project needs first, a repository of its own; or room for the clone."""
    if _FULL in _REMOTE_LINE.sub("", text):
        return "\nThe disk of the cache folder is full: make room, or name another folder in GITOPS_ML_CACHE"
    if remote.url == EXAMPLE:
        return (
            "\nThis is the address that `gitops-ml init` writes as an example: set gitops.repository of "
            "gitops-ml.yaml to your own repository, or to a folder to try it"
        )
    if remote.is_local and "does not appear to be a git repository" in text:
        return f"\nCreate it: git init --bare {shlex.quote(str(remote))}"
    return ""


def push_failure(
    answer: GitResult, remote: Remote, branch: str, credentials: Credentials
) -> GitopsMlError:
    """Why a push did not move the branch. ``answer`` is that of ``git push --porcelain``."""
    status = _ref_status(answer.stdout.decode("utf-8", "replace"))
    text = _NOISE.sub("", answer.stderr).strip()
    if _NOT_REWRITABLE.search(status):
        return Refused(
            f"{remote} does not allow a force-push to {branch} ({status}); delete that branch there, "
            "or allow force-pushes to it"
        )
    # The text of a hook is not git's: a refusal that contains "fetch first" would be tried again and again.
    if _MOVED.search(status or _REMOTE_LINE.sub("", text)):
        held = [line for line in text.splitlines() if "File exists" in line]
        why = "; ".join([status, *held] if status else [text])
        if held:
            why += "; remove that file if no push has run there for minutes"
        return RepositoryMoved(f"{branch} of {remote} moved meanwhile ({why})")
    if status and "unpacker error" not in status:
        hint = _UNSIGNED if _WANTS_SIGNATURES.search(text) else ""
        return Refused(f"{remote} refused the commit on {branch}: {status}\n{text}{hint}".rstrip())
    if not status and _NOT_WRITABLE.search(text) and not _NO_ACCESS.search(text):
        return Refused(f"{remote} accepts no commits with these credentials: {text}")
    return connection_failure(answer, remote, credentials, verb="written to")


def object_format_of(text: str, *, own: int = 0) -> str | None:
    """The kind of object ids that the server has, where that is why git failed.

    A server without commits does not say which: not that of an id of ``own`` digits.
    """
    if named := _OTHER_IDS.search(text):
        return named[1] or ("sha1" if own == 64 else "sha256")
    return None


def page_named_in(text: str) -> str | None:
    """The page for opening a pull request, which a forge names when a branch is pushed.

    GitHub, GitLab, Gitea and Bitbucket print a line with "pull request" or "merge request", and the
    address below it.
    """
    is_about_it = False
    for line in map(str.strip, _REMOTE_LINE.findall(text)):
        is_about_it = is_about_it or bool(re.search(r"(pull|merge) request", line, re.I))
        if is_about_it and (page := _PAGE.search(line)):
            return page[0]
    return None


def _ref_status(porcelain: str) -> str:
    r"""The server's answer for the pushed ref: ``!\t<from>:<to>\t[remote rejected] (why)``."""
    for line in porcelain.splitlines():
        if line.startswith("!"):
            return line.split("\t")[-1].strip()
    return ""


def _moved(remote: Remote, text: str, credentials: Credentials) -> str:
    """The remedy where the server redirects to another one, which gets no token."""
    asked = _ASKS_FOR_A_NAME.search(text)
    if asked is None or not remote.is_http or asked[1].rpartition("@")[2] == remote.server:
        return ""
    return (
        f"The server redirects to {asked[1]}, which gets no credentials: set {credentials.section}.repository "
        "to the address that the repository has now"
    )


def _remedy(remote: Remote, credentials: Credentials) -> str:
    if not remote.is_http:
        return "Is the key in the ssh agent, and may it write to the repository?"
    if credentials.token:
        return (
            f"The token in {credentials.token_env} is wrong, has expired, "
            "or lacks the right to this repository."
        )
    if credentials.token_env:
        setting = f"{credentials.section}.token_env"
        return f"The environment variable {credentials.token_env} ({setting}) is not set."
    return (
        f"Name the environment variable that holds a token in {credentials.section}.token_env, "
        "or give git a credential helper or a ~/.netrc entry for this server."
    )
