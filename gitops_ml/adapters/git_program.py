"""Git itself, driven by GitPython: commands on one clone and its remote, and how they ended."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.errors import ProgramFailed
from gitops_ml.process import (
    foreign_git_variables,
    redacted,
    secrets_in,
    without_foreign_git,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import git

    from gitops_ml.adapters.git_remote import Credentials, Remote

_OPTIONS = (
    # Housekeeping is ours (git_clone.py), so that no background process holds the clone.
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "fetch.writeCommitGraph=false",
    # Hooks of the user's own (core.hooksPath in ~/.gitconfig) are not meant for a bare clone.
    "-c", f"core.hooksPath={os.devnull}",
    "-c", "push.gpgSign=false",
    "-c", "push.followTags=false",
    "-c", "push.recurseSubmodules=no",
    "-c", "core.quotePath=false",
)  # fmt: skip

_IN_ENGLISH = {"LC_ALL": "C", "LANGUAGE": ""}
"""Git's words tell what went wrong (git_failures.py), and in no other language."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a git command ended; ``stderr`` holds no secret."""

    command: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: str

    def required(self) -> bytes:
        """The output.

        Raises:
            ProgramFailed: the command failed.
        """
        if self.status:
            raise ProgramFailed(self.command, self.status, self.stderr)
        return self.stdout

    @property
    def text(self) -> str:
        """The output, of ids alone, as text.

        Raises:
            ProgramFailed: the command failed.
        """
        return self.required().decode("ascii").strip()


class GitProgram:
    """Git commands on the bare clone in ``folder`` and its ``remote``."""

    def __init__(
        self,
        folder: Path,
        remote: Remote,
        *,
        credentials: Credentials,
        environ: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._remote = remote
        self._credentials = credentials
        self._environ = without_foreign_git(environ)
        self._secrets = (*credentials.secrets, *secrets_in(environ))

    def local(self, *arguments: str, input: bytes | None = None) -> Answer:
        """A command that needs the clone only."""
        return self._execute(
            (*_OPTIONS, *arguments), env={"GIT_DIR": str(self._folder)}, input=input
        )

    def remote(self, *arguments: str) -> Answer:
        """A command that speaks from the clone to the remote."""
        return self._execute(
            (*_OPTIONS, *self._credentials.options(self._remote), *arguments),
            env={"GIT_DIR": str(self._folder), **self._connection()},
        )

    def push(self, *arguments: str) -> Answer:
        """``git push`` of ``arguments``; where the other end is this machine, both outlive us."""
        return self._execute(
            (*_OPTIONS, *self._credentials.options(self._remote), "push", *arguments),
            env={"GIT_DIR": str(self._folder), **self._connection()},
            # The server's half runs in our process group then. Killed with us in the wrong moment
            # it would leave a lock on the branch; in a session of its own it ends as on a server.
            session_of_its_own=self._remote.is_local,
        )

    def remote_alone(self, *arguments: str) -> Answer:
        """A command that speaks to the remote and works without any clone."""
        return self._execute(
            (*_OPTIONS, *self._credentials.options(self._remote), *arguments),
            env={"GIT_CEILING_DIRECTORIES": str(self._folder.parent), **self._connection()},
        )

    def _connection(self) -> dict[str, str]:
        """Variables for a conversation with the server in which nobody is asked anything."""
        found = {"GIT_TERMINAL_PROMPT": "0", **self._credentials.environ(self._remote)}
        if self._remote.is_http:
            # A server that has said nothing at all for five minutes will not say anything any more.
            found["GIT_HTTP_LOW_SPEED_LIMIT"] = self._environ.get("GIT_HTTP_LOW_SPEED_LIMIT", "1")
            found["GIT_HTTP_LOW_SPEED_TIME"] = self._environ.get("GIT_HTTP_LOW_SPEED_TIME", "300")
        if self._remote.scheme == "ssh" and not self._user_has_ssh_command():
            found["GIT_SSH_COMMAND"] = (
                "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30"
            )
        return found

    def _user_has_ssh_command(self) -> bool:
        if "GIT_SSH_COMMAND" in self._environ or "GIT_SSH" in self._environ:
            return True
        return self.local("config", "--get", "core.sshCommand").status == 0

    def _execute(
        self,
        arguments: tuple[str, ...],
        *,
        env: Mapping[str, str],
        input: bytes | None = None,
        session_of_its_own: bool = False,
    ) -> Answer:
        program = _gitpython(self._folder.parent)
        command = [*_without_variables(env), program.GIT_PYTHON_GIT_EXECUTABLE or "git", *arguments]
        with tempfile.TemporaryFile() as stream:
            if input is not None:
                stream.write(input)
                stream.seek(0)
            status, stdout, stderr = program.execute(
                command,
                istream=stream if input is not None else None,
                env={**self._environ, **env, **_IN_ENGLISH},
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                start_new_session=session_of_its_own,
            )
        shown = tuple(
            redacted(part, self._secrets) for part in ("git", *arguments[len(_OPTIONS) :])
        )
        return Answer(shown, status, bytes(stdout), redacted(str(stderr), self._secrets))


def _without_variables(env: Mapping[str, str]) -> list[str]:
    """The start of a command that hides other repositories' variables from git.

    GitPython adds to the environment of this process and takes nothing away.
    """
    names = [name for name in foreign_git_variables(os.environ) if name not in env]
    return ["env", *(part for name in names for part in ("-u", name))] if names else []


def _gitpython(folder: Path) -> git.Git:
    """GitPython's door to the git program, imported here because that takes a tenth of a second.

    Raises:
        ProgramFailed: git is not installed.
    """
    try:
        import git
    except ImportError as error:
        raise ProgramFailed(
            ("git",), 127, "git is not on PATH; install it, or name it in GIT_PYTHON_GIT_EXECUTABLE"
        ) from error
    return git.Git(folder)
