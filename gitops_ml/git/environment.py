"""Options and environment of every git command, and commands that need no server.

No repository may name a program. Its own configuration is not read: git gets an explicit
``GIT_DIR``, which is either nothing (`OUTSIDE`), the clone in the cache, or a source repository whose
configuration is replaced (`gitops_ml.git.checkout`). The options here apply as well, whatever the
defaults of the user or of git are. The configuration of the user and of the system counts: it
defines how git reaches servers, and with which programs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gitops_ml.errors import UsageError
from gitops_ml.system.process import absolute_path, run, without_foreign_git

PROTOCOLS = ("file", "git", "http", "https", "ssh")
"""The transports that git may use; ``ext::``, ``fd::`` and other helpers start programs."""

OPTIONS = (
    "--no-pager",
    # A folder is a repository if it has a `.git`, not if it looks like the inside of one.
    "-c", "safe.bareRepository=explicit",
    "-c", "core.fsmonitor=false",
    "-c", f"core.hooksPath={os.devnull}",
    "-c", "submodule.recurse=false",
    "-c", "core.quotePath=false",
)  # fmt: skip

OUTSIDE: Mapping[str, str] = {"GIT_DIR": os.devnull}
"""For a command that needs no repository: git does not read the current folder."""

_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    # A partial clone must not fetch missing objects from the address that it names.
    "GIT_NO_LAZY_FETCH": "1",
    # `gitops_ml.git.failures` parses the messages, in English only.
    "LC_ALL": "C",
    "LANGUAGE": "",
}


TIMEOUT = "GITOPS_ML_GIT_TIMEOUT"
_SECONDS = 300.0
_SLOWEST = {"GIT_HTTP_LOW_SPEED_LIMIT": "100", "GIT_HTTP_LOW_SPEED_TIME": "120"}
"""Bytes per second, and for how many seconds a server may send fewer."""


def conversation_seconds(environ: Mapping[str, str]) -> float:
    """How long one conversation with a server may take in all."""
    text = environ.get(TIMEOUT, "").strip()
    try:
        seconds = float(text) if text else _SECONDS
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{TIMEOUT} is {text!r}; give a number of seconds, such as 900")
    return seconds


def connection(environ: Mapping[str, str], *, has_ssh_command: bool) -> dict[str, str]:
    """Variables for a conversation with a server without questions to the user."""
    found = {name: environ.get(name, value) for name, value in _SLOWEST.items()}
    if not has_ssh_command:
        found["GIT_SSH_COMMAND"] = (
            "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30"
        )
    return found


def git_program(environ: Mapping[str, str]) -> str:
    """The program git: a name on ``PATH``, or the file that GitPython's variable names."""
    return environ.get("GIT_PYTHON_GIT_EXECUTABLE") or "git"


def git_environment(
    environ: Mapping[str, str], *, repository: Mapping[str, str], protocols: tuple[str, ...] = ()
) -> dict[str, str]:
    """The whole environment of a git command.

    ``repository`` are the variables that point git at a repository, ``protocols`` the transports that
    it may use; the user's ``GIT_ALLOW_PROTOCOL`` restricts them further.
    """
    return {
        **without_foreign_git(environ),
        **_FIXED,
        **repository,
        "PATH": absolute_path(environ),
        "GIT_ALLOW_PROTOCOL": ":".join(_allowed(environ, protocols)) or "none",
    }


def run_git(
    *arguments: str,
    repository: Mapping[str, str],
    cwd: Path = Path(os.sep),
    input: bytes | str | None = None,
    seconds: float = 60,
    errors: str = "surrogateescape",
) -> str:
    """The output of a command that reaches no server; ``errors`` is for bytes that are not UTF-8."""
    done = run(
        [git_program(os.environ), *OPTIONS, *arguments],
        cwd=cwd,
        environ=git_environment(os.environ, repository=repository),
        input=input,
        timeout=seconds,
    )
    return done.stdout.decode("utf-8", errors)


def _allowed(environ: Mapping[str, str], protocols: tuple[str, ...]) -> tuple[str, ...]:
    wanted = environ.get("GIT_ALLOW_PROTOCOL")
    return protocols if wanted is None else tuple(p for p in protocols if p in wanted.split(":"))
