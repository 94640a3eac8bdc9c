"""Programs that run in the background, each with a log, ended by their own process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

STOP_SECONDS = 15
LAST_LINES = 15


class Failed(AssertionError):
    """A component could not start, or what a test waits for cannot come true."""


class Component(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


SomeComponent = TypeVar("SomeComponent", bound=Component)


@contextmanager
def running(component: SomeComponent) -> Iterator[SomeComponent]:
    """The component, started; it is stopped although its start failed half-way."""
    try:
        component.start()
        yield component
    finally:
        component.stop()


class Processes:
    """The running programs of one folder; `stop` ends them in the opposite order of their start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._running = ExitStack()
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def __getstate__(self) -> dict[str, object]:
        """Without the running programs: only the process that started them can end them."""
        return {**vars(self), "_running": ExitStack(), "_programs": {}}

    def start(
        self, name: str, *command: str | Path, environ: Mapping[str, str] | None = None
    ) -> None:
        with self.log(name).open("wb") as log:
            program = subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._programs[name] = program
        self._running.callback(_end, program)

    def stop(self) -> None:
        self._running.close()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def check(self) -> None:
        """Raise `Failed` with the last lines of its log if a program has ended."""
        for name, program in self._programs.items():
            if program.poll() is not None:
                lines = self.log(name).read_text(errors="replace").splitlines()[-LAST_LINES:]
                raise Failed("\n".join([f"{name} ended with {program.returncode}:", *lines]))


def _end(program: subprocess.Popen[bytes]) -> None:
    """Ask the program and its children to end; kill them if they do not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(program.pid, number)
        with suppress(subprocess.TimeoutExpired):
            program.wait(STOP_SECONDS)
            return


def until(
    is_so: Callable[[], object],
    what: str,
    *,
    seconds: float,
    impossible: Callable[[], str | None] = lambda: None,
    pause: float = 0.5,
) -> float:
    """Wait until ``is_so`` returns a true value; returns the seconds that it took.

    ``impossible`` tells why it cannot come true any more; then the wait ends at once.

    Raises:
        Failed: it is not so after ``seconds``, or cannot be.
    """
    start = time.monotonic()
    while not is_so():
        if reason := impossible():
            raise Failed(f"{what}: this cannot come true: {reason}")
        if time.monotonic() - start > seconds:
            raise Failed(f"{what}: not so after {seconds:g} seconds")
        time.sleep(pause)
    return time.monotonic() - start


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
