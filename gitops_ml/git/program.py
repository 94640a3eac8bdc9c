"""Run git commands on one clone and its remote, through GitPython."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, cast

from gitops_ml.errors import ProgramFailed, ServerFailed
from gitops_ml.git.environment import (
    OPTIONS,
    OUTSIDE,
    PROTOCOLS,
    TIMEOUT,
    connection,
    conversation_seconds,
    git_environment,
    git_program,
)
from gitops_ml.git.remote import Credentials, Remote
from gitops_ml.system.process import (
    Outdated,
    absolute_path,
    environment_variable,
    foreign_git_variables,
    output_of,
    redacted,
    secrets_in,
)
from gitops_ml.system.progress import note

if TYPE_CHECKING:
    import git

_OPTIONS = (
    *OPTIONS,
    # `Clone.tidy` does the housekeeping, so that no background process holds the clone.
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "fetch.writeCommitGraph=false",
    "-c", "push.gpgSign=false",
    "-c", "push.followTags=false",
    "-c", "push.recurseSubmodules=no",
)  # fmt: skip
_UNSIGNED = (
    "commit.gpgSign of your git configuration asks for signed commits: mend the key "
    "(`git commit -S` fails in the same way), or `git config --global commit.gpgSign false`"
)
_LONGEST_MESSAGE = 4000
"""Characters of what git and the server write to stderr."""


_IMPORT = threading.Lock()


@dataclass(frozen=True, slots=True)
class GitResult:
    """The result of a git command; ``stderr`` holds no secret."""

    command: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: str

    def required(self) -> bytes:
        """The output of a command that has to succeed."""
        if self.status:
            raise ProgramFailed(self.command, self.status, self.stderr)
        return self.stdout

    @property
    def text(self) -> str:
        """The output as ASCII text, for object ids."""
        return self.required().decode("ascii").strip()


class GitProgram:
    """Git commands on the bare clone in ``folder`` and its ``remote``.

    A conversation with the remote raises `ServerFailed` when it takes too long.
    """

    def __init__(
        self,
        folder: Path,
        remote: Remote,
        *,
        credentials: Credentials,
        environ: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._clone = {"GIT_DIR": str(folder)}
        self._remote = remote
        self._credentials = credentials
        # GitPython adds to the environment of this process, so all of it counts anyway.
        self._environ = {**os.environ, **environ}
        self._secrets = (*credentials.secrets, *secrets_in(environ))
        self.seconds = conversation_seconds(self._environ)
        """After which a conversation with the server is stopped."""

    def make(self, folder: Path, object_format: str) -> GitResult:
        """``git init`` of an empty bare clone in ``folder``."""
        init = (
            "init", "--quiet", "--bare", "--template=", f"--object-format={object_format}",
        )  # fmt: skip
        return self._execute(init, env={"GIT_DIR": str(folder)})

    def local(self, *arguments: str, input: bytes | None = None) -> GitResult:
        """A command that needs only the clone."""
        return self._execute(arguments, env=self._clone, input=input)

    def signed(
        self,
        commit: str,
        *,
        parent: str | None,
        message: str,
        author: tuple[str, str],
        seconds: int,
    ) -> str:
        """The id of the commit with a signature, as `git commit` makes it; the commit itself where the user signs none.

        `git fast-import`, which writes the commits, signs none. Key and program are those of the user's and the
        system's configuration; the configuration of the clone has neither.

        Raises:
            ProgramFailed: it cannot be signed.
            ServerFailed: the user's program for signatures took too long; it may wait for a passphrase.
        """
        wanted = self.local("config", "--type=bool", "--get", "commit.gpgSign")
        if wanted.stdout.strip() != b"true":
            return commit
        who = {"NAME": author[0], "EMAIL": author[1], "DATE": f"@{seconds} +0000"}
        roles = ("AUTHOR", "COMMITTER")
        names = {f"GIT_{role}_{key}": value for role in roles for key, value in who.items()}
        parents = ("-p", parent) if parent else ()
        tree = f"{commit}^{{tree}}"
        try:
            done = self._execute(
                ("-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-S", *parents, "-F", "-", tree),
                env={**self._clone, **names},
                input=(message.rstrip("\n") + "\n").encode(),
                seconds=self.seconds,
            )
        except Outdated as error:
            raise ServerFailed(
                f"no signature within {self.seconds:g} seconds: does the program for signatures wait for "
                f"a passphrase? ({TIMEOUT} says how long it may take)"
            ) from error
        if done.status:
            raise ProgramFailed(done.command, done.status, f"{done.stderr.strip()}\n{_UNSIGNED}")
        return done.text

    def remote(self, *arguments: str) -> GitResult:
        """A command between the clone and the remote."""
        return self._converse(arguments, repository=self._clone)

    def push(self, *arguments: str) -> GitResult:
        """``git push`` of ``arguments``; to a remote on this machine, it outlives this process."""
        if not self._remote.is_local:
            return self._converse(("push", *arguments), repository=self._clone)
        # The receiving half then runs in this process group. Killed at the wrong moment, it would
        # leave a lock on the branch; in its own session it ends as it does on a server.
        env = {**self._clone, **self._connection()}
        return self._execute(("push", *arguments), env=env, outlives_us=True)

    def remote_alone(self, *arguments: str) -> GitResult:
        """A command with the remote that needs no clone."""
        return self._converse(arguments, repository=OUTSIDE)

    def _converse(self, arguments: tuple[str, ...], *, repository: Mapping[str, str]) -> GitResult:
        try:
            return self._execute(
                (*self._credentials.options(self._remote), *arguments),
                env={**repository, **self._connection()},
                seconds=self.seconds,
            )
        except Outdated as error:
            raise ServerFailed(
                f"{self._remote} did not finish `git {arguments[0]}` within {self.seconds:g} "
                f"seconds; if it is only slow, set {TIMEOUT} to more seconds"
            ) from error

    def _connection(self) -> dict[str, str]:
        """Variables for a conversation with the server."""
        has_ssh_command = self._remote.scheme != "ssh" or self._user_has_ssh_command()
        return {
            **connection(self._environ, has_ssh_command=has_ssh_command),
            **self._credentials.environ(self._remote),
        }

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
        seconds: float | None = None,
        outlives_us: bool = False,
    ) -> GitResult:
        """Run git. With ``seconds``, the processes that it starts end with it."""
        environ = git_environment(self._environ, repository=env, protocols=PROTOCOLS)
        program = _gitpython(self._folder.parent, self._environ)
        command = [*_without_variables(environ), git_program(self._environ), *_OPTIONS, *arguments]
        with tempfile.TemporaryFile() as stream:
            if input is not None:
                stream.write(input)
                stream.seek(0)
            started = program.execute(
                command,
                istream=stream if input is not None else None,
                env=environ,
                as_process=True,
                start_new_session=outlives_us or seconds is not None,
            )
            begun = time.monotonic()
            process = cast("Popen[bytes]", started.proc)  # annotated as one of text
            started.proc = None  # or GitPython would end it when `started` is collected
            stdout, stderr = output_of(process, timeout=seconds, outlives_us=outlives_us)
        shown = tuple(redacted(part, self._secrets) for part in ("git", *arguments))
        note(f"{shlex.join(shown)} ({time.monotonic() - begun:.2f} s)")
        message = _shortened(redacted(stderr.decode("utf-8", "replace"), self._secrets))
        return GitResult(shown, process.returncode, stdout, message)


def _shortened(text: str) -> str:
    """``text`` without its middle where it is long: a hook on the server may write without end."""
    if len(text) <= _LONGEST_MESSAGE:
        return text
    half = _LONGEST_MESSAGE // 2
    return f"{text[:half]}\n...\n{text[-half:]}"


def _without_variables(environ: Mapping[str, str]) -> list[str]:
    """The start of a command that hides other repositories' variables from git.

    GitPython adds to the environment of this process and removes nothing.
    """
    names = [name for name in foreign_git_variables(os.environ) if name not in environ]
    return ["env", *(part for name in names for part in ("-u", name))] if names else []


def _gitpython(folder: Path, environ: Mapping[str, str]) -> git.Git:
    """GitPython's runner, imported here because the import takes a tenth of a second."""
    program = shutil.which(git_program(environ), path=absolute_path(environ))
    if program is None:
        raise ProgramFailed(
            ("git",), 127, "git is not on PATH; install it, or name it in GIT_PYTHON_GIT_EXECUTABLE"
        )
    # The import runs the first git on PATH for its version, which could be a file of the project.
    named = environment_variable("GIT_PYTHON_GIT_EXECUTABLE", program)
    # Once: other threads copy the environment meanwhile.
    with _IMPORT, nullcontext() if "git" in sys.modules else named:
        try:
            import git
        except ImportError as error:  # the user's configuration cannot be read, for example
            why = error.__cause__
            status, text = getattr(why, "status", 1), str(getattr(why, "stderr", error))
            raise ProgramFailed(("git", "version"), status, text.strip()) from error
    return git.Git(folder)
