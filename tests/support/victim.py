"""CI with a secret in its environment, which checks a change of somebody else, and a server of the attacker."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gitops_ml.cli.main import main
from tests.support.source_changes import Source

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "CANARY-7f3a9c51"
OUTSIDE = "OUTSIDE-51b2c8e0"


class Listener:
    """A server of the attacker: it only counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        # wakes up `accept`
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(60)


class Done(NamedTuple):
    code: object
    stdout: str
    stderr: str


class Victim:
    """CI with a secret in its environment, which checks a change of somebody else."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.monkeypatch = home, monkeypatch
        for name in ("GITOPS_TOKEN", "SIGNING_KEY"):
            monkeypatch.setenv(name, SECRET)
        monkeypatch.setenv("GITOPS_ML_TOKEN_HOSTS", "GITOPS_TOKEN=127.0.0.1")
        monkeypatch.setenv("GITOPS_ML_CACHE", str(home / "cache"))
        self.mark = home / "executed"
        (home / "outside.txt").write_text(OUTSIDE)
        self.source = Source(home / "source")

    def checks(self, *arguments: str, output: str = "markdown") -> Done:
        """`gitops-ml check` in this process."""
        out, err = io.StringIO(), io.StringIO()
        self.monkeypatch.chdir(self.source.folder)
        command = ["check", "--base", "main", "-o", output, *arguments]
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(command)
        return Done(ended.value.code, out.getvalue(), err.getvalue())

    def checks_in_a_process(self, *arguments: str) -> Done:
        # isolated, as the installed program is: `python -m` looks into the current folder first
        command = [sys.executable, "-I", "-m", "gitops_ml", "check", "--base", "main", *arguments]
        done = subprocess.run(
            command, cwd=self.source.folder, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def stays_safe(self, *arguments: str, output: str = "markdown") -> Done:
        """The check ends deliberately, and nothing of the change had an effect."""
        return self.is_unharmed(self.checks(*arguments, output=output))

    def is_unharmed(self, done: Done) -> Done:
        assert done.code in (0, 2, 3, 7), done
        assert "Traceback" not in done.stderr
        assert not self.mark.exists()
        shown = done.stdout + done.stderr
        assert SECRET not in shown
        assert OUTSIDE not in shown
        return done
