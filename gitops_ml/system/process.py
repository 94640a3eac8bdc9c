"""Run programs, with an argument list and never a shell.

Results and errors hold no secrets: neither passwords in URLs, nor the values of variables that are
named like secrets.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops_ml.errors import ProgramFailed
from gitops_ml.system.clean_text import redacted_urls
from gitops_ml.system.progress import note

_GIT_VARIABLES_OF_THE_USER = re.compile(
    r"GIT_(ALLOW_PROTOCOL|ASKPASS|EXEC_PATH|TERMINAL_PROMPT|SSH|SSH_COMMAND|SSH_VARIANT"
    r"|CONFIG_(COUNT|GLOBAL|NOSYSTEM|SYSTEM|(KEY|VALUE)_\d+)"
    r"|HTTP_(LOW_SPEED_LIMIT|LOW_SPEED_TIME|PROXY_AUTHMETHOD|USER_AGENT)"
    r"|PROXY_(COMMAND|SSL_CAINFO|SSL_CERT|SSL_KEY)|SSL_(CAINFO|CAPATH|CERT|KEY|NO_VERIFY))"
)
"""How the user reaches servers. Other variables (``GIT_DIR``, ``GIT_INDEX_FILE``…) name another
repository, usually because gitops-ml runs inside one of its hooks."""

_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|PRIVATE_KEY|API_?KEY", re.I)
_SHORTEST_SECRET = 6
_LOOK_EVERY = 0.4
"""Seconds between two checks whether a program is outdated."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The outputs of a program that succeeded."""

    command: tuple[str, ...]
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return self.stdout.decode("utf-8", "replace")


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    input: bytes | str | None = None,
    timeout: float | None = None,
    most: int | None = None,
    asks: bool = False,
) -> Completed:
    """Run a program, and return its outputs.

    ``env`` is added to the environment of this process, which ``environ`` replaces. A program that
    ``asks`` has the terminal: it reads from there, and what it writes to stderr goes there. One that
    writes more than ``most`` bytes is ended.

    Raises:
        ProgramFailed: it is not installed, failed, or did not end in time; holds no secret.
        TooMuchOutput: it wrote more than ``most`` bytes.
    """
    command = [os.fspath(part) for part in argv]
    environ = _environment(env) if environ is None else dict(environ)
    secrets = secrets_in({**os.environ, **environ})
    shown = tuple(redacted(part, secrets) for part in command)
    begun = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environ,
            stdin=None if asks else subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if asks else subprocess.PIPE,
            start_new_session=not asks,
        )
    except OSError as error:
        raise ProgramFailed(shown, 127, f"cannot be started: {error.strerror}") from error
    data = input.encode() if isinstance(input, str) else input
    try:
        if most is None:
            stdout, stderr = output_of(process, input=data, timeout=timeout)
        else:
            stdout, stderr = _bounded_output(process, most, timeout=timeout)
    except Outdated as error:
        raise ProgramFailed(shown, -9, f"did not end within {timeout:g} seconds") from error
    note(f"{shlex.join(shown)} ({time.monotonic() - begun:.2f} s)")
    errors = redacted((stderr or b"").decode("utf-8", "replace"), secrets)
    if process.returncode:
        raise ProgramFailed(shown, process.returncode, errors)
    return Completed(shown, stdout, errors)


def attend(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    is_outdated: Callable[[], bool] | None = None,
    show: Callable[[str], None] | None = None,
) -> int:
    """Run a program in the foreground on this terminal; returns its exit code.

    ``show`` gets each line of its standard output, which else goes where ours goes.

    SIGINT and SIGTERM are passed on, and the program may finish its work. With ``is_outdated``, the
    program is restarted each time that is true, also after it has exited.
    """
    command = [os.fspath(part) for part in argv]
    attended = _Attended(command, cwd=cwd, env=_environment(env, hides_git=False), show=show)
    # Before the program starts, so that no signal is lost.
    before = {
        number: signal.signal(number, attended.pass_on)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return attended.run(is_outdated)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Attended:
    """A program in the foreground, and its restarts."""

    def __init__(
        self,
        command: list[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        show: Callable[[str], None] | None,
    ) -> None:
        self._command, self._cwd, self._env, self._show = command, cwd, env, show
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._is_ending = False

    def pass_on(self, number: int, _: object) -> None:
        """Send the signal on, unless the terminal has: Ctrl-C reaches the whole foreground group."""
        self._is_ending = True
        if self._process and not (number == signal.SIGINT and _is_in_foreground()):
            self._process.send_signal(number)

    def run(self, is_outdated: Callable[[], bool] | None) -> int:
        while True:
            process = self._process = self._start()
            if self._is_ending:
                process.terminate()
            if is_outdated is None:
                return self._end_of(process)
            while not self._is_ending and not is_outdated():
                # After the program has exited, a change may repair it.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_EVERY)
                    time.sleep(_LOOK_EVERY)
            if self._is_ending:
                return self._end_of(process)
            process.terminate()
            self._end_of(process)

    def _start(self) -> subprocess.Popen[bytes]:
        output = subprocess.PIPE if self._show else None
        process = subprocess.Popen(self._command, cwd=self._cwd, env=self._env, stdout=output)
        if self._show:
            self._reader = threading.Thread(target=self._read, args=[process], daemon=True)
            self._reader.start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert self._show is not None
        assert process.stdout is not None
        for line in process.stdout:
            self._show(line.decode("utf-8", "replace").rstrip("\n"))

    def _end_of(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for its end, and for its last lines; a child may hold the pipe for longer."""
        while process.returncode is None:
            # Not in one call: a signal that comes just before the system call, or to another thread, does not
            # interrupt it, and Python calls the handler only after it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY)
        if self._reader is not None:
            self._reader.join(_LOOK_EVERY)
        return process.returncode


def _is_in_foreground() -> bool:
    """Whether Ctrl-C of the terminal reaches this process and its children alike."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


_UNTIL_CLOSED = """\
import os, signal, subprocess, sys, threading
program, is_ending = None, threading.Event()
def end(*_):
    is_ending.set()
    if program:
        program.terminate()
def end_at_the_latest():
    while os.read(0, 1):
        pass
    end()
    try:
        program.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
if is_ending.is_set():
    end()
threading.Thread(target=end_at_the_latest, daemon=True).start()
while program.returncode is None:
    try:
        program.wait(0.4)
    except subprocess.TimeoutExpired:
        pass
code = program.returncode
sys.exit(code if code >= 0 else 128 - code)
"""
"""Runs a program until it ends or the standard input is closed, as it is when our process is killed."""


class Background:
    """A program in the background, which ends with this process at the latest, however that ends."""

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
    ) -> None:
        command = [sys.executable, "-I", "-S", "-c", _UNTIL_CLOSED]
        command += (os.fspath(part) for part in argv)
        with log.open("wb") as output:
            # In its own session: a Ctrl-C that interrupts a cell must not reach it.
            self._process = subprocess.Popen(
                command, cwd=cwd, env=_environment(env, hides_git=False),
                stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        atexit.register(self.end)

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Terminate it, and kill it if it does not end; may be called again."""
        atexit.unregister(self.end)
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        _kill(self._process)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Outdated(Exception):
    """A program that did not end in time, and was killed."""


class TooMuchOutput(Exception):
    """A program that wrote more than is read, and was killed."""


def _bounded_output(
    process: subprocess.Popen[bytes], most: int, *, timeout: float | None
) -> tuple[bytes, bytes]:
    """Both outputs of a program that reads nothing, and writes little to stderr before its end."""
    assert process.stdout is not None and process.stderr is not None, "both are pipes"
    timer = threading.Timer(timeout or threading.TIMEOUT_MAX, _kill, (process,))
    timer.daemon = True
    with process:
        timer.start()
        try:
            stdout = process.stdout.read(most + 1)
            if len(stdout) > most:
                raise TooMuchOutput
            stderr = process.stderr.read()
            process.wait()
            if timer.finished.is_set():
                raise Outdated
            return stdout, stderr
        finally:
            timer.cancel()
            _kill(process)


def output_of(
    process: subprocess.Popen[bytes],
    *,
    input: bytes | None = None,
    timeout: float | None = None,
    outlives_us: bool = False,
) -> tuple[bytes, bytes]:
    """Both outputs of a program that has ended; on any error, it is killed. `Outdated` after ``timeout`` seconds."""
    with process:
        try:
            return process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            raise Outdated from error
        except BaseException:
            if not outlives_us:
                _kill(process)
            raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    # If it leads its own session, its children are killed, too.
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _environment(more: Mapping[str, str] | None, *, hides_git: bool = True) -> dict[str, str]:
    """The environment of this process for a program, with ``more``."""
    own = without_foreign_git(os.environ) if hides_git else os.environ
    return {**own, "PATH": absolute_path(os.environ), **(more or {})}


def absolute_path(environ: Mapping[str, str]) -> str:
    """``PATH`` without relative entries: the current folder may hold programs of others.

    >>> absolute_path({"PATH": ".:/usr/bin::/bin"})
    '/usr/bin:/bin'
    """
    entries = environ.get("PATH", os.defpath).split(os.pathsep)
    # Never empty: that would be the current folder.
    return os.pathsep.join(e for e in entries if e.startswith(os.sep)) or os.devnull


@contextlib.contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable for the import of a library that reads it, and restore it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def foreign_git_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the ``GIT_…`` variables that would make git use another repository."""
    names = (name for name in environ if name.startswith("GIT_"))
    return tuple(sorted(n for n in names if not _GIT_VARIABLES_OF_THE_USER.fullmatch(n)))


def without_foreign_git(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of ``foreign_git_variables``."""
    foreign = set(foreign_git_variables(environ))
    return {name: value for name, value in environ.items() if name not in foreign}


def secrets_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of all variables that are named like secrets, longest first."""
    found = {
        value
        for name, value in environ.items()
        if _SECRET_NAME.search(name) and name != TOKEN_HOSTS and len(value) >= _SHORTEST_SECRET
    }
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with ``***`` for each of ``secrets`` and for the credentials in URLs.

    >>> redacted("cannot reach https://ann:s3cret@example.org/x")
    'cannot reach https://***@example.org/x'
    """
    for secret in secrets:
        text = text.replace(secret, "***")
    return redacted_urls(text)


TOKEN_HOSTS = "GITOPS_ML_TOKEN_HOSTS"  # noqa: S105 - the name of a variable
"""``VARIABLE=host[,host…]``, several separated by ``;`` or a line break."""


FIRST_IMPORT = threading.RLock()
"""Held while a large library is imported in a function that several threads may call. Two threads that import two
libraries which both import a third one, as docker and kubernetes import requests, may each see half of it."""
