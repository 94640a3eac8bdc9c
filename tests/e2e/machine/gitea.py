"""A Gitea of this machine: a forge with pull requests, and the Git server that Argo CD reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.e2e.machine import binaries
from tests.e2e.machine.processes import Processes, answers, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

USER = "ops"
SCOPES = "write:repository,write:issue,write:user"
"""Without `read:organization`: labels of the repository must be enough."""


def missing() -> list[str]:
    lacking = binaries.missing("gitea")
    if not binaries.gitea_files().exists():
        lacking.append("Gitea's templates (make e2e-binaries)")
    if not lacking and binaries.GITEA not in _version():
        lacking.append(
            f"Gitea {binaries.GITEA} (remove {binaries.path('gitea')}, make e2e-binaries)"
        )
    return lacking


@cache
def _version() -> str:
    """What it reports; a build without one reports `development`."""
    program = binaries.path("gitea") or "gitea"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


class Gitea:
    """``token`` may write repositories, issues and pull requests of `USER`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self._processes = Processes(folder)

    def start(self) -> None:
        (self.folder / "app.ini").write_text(_SETTINGS.format(
            folder=self.folder, port=self.port, files=binaries.gitea_files()
        ))  # fmt: skip
        self._admin("migrate")
        self._admin("admin", "user", "create", "--username", USER, "--password", "a-long-passw0rd",
                    "--email", "ops@example.org", "--admin", "--must-change-password=false")  # fmt: skip
        output = self._admin("admin", "user", "generate-access-token", "--username", USER, "--raw",
                           "--token-name", "e2e", "--scopes", SCOPES)  # fmt: skip
        # On a busy machine a warning about a slow query may come before or after it.
        self.token = re.findall(r"^[0-9a-f]{40}$", output, re.M)[-1]
        self._processes.start("gitea", *self._command("web"), environ=self._environ)
        until(
            lambda: answers(self.port),
            "Gitea listens",
            seconds=60,
            impossible=self._processes.check,
        )

    def stop(self) -> None:
        self._processes.stop()

    def create_repository(self, name: str) -> str:
        """An empty repository; returns its address."""
        self.ask("POST", "/user/repos", {"name": name, "default_branch": "main"})
        return f"{self.url}/{USER}/{name}.git"

    def merge(self, path: str) -> None:
        """Merge a pull request; Gitea refuses that until it has compared what was pushed last."""
        until(lambda: self._merges(path), "Gitea merges", seconds=60)

    def _merges(self, path: str) -> bool:
        try:
            self.ask("POST", f"{path}/merge", {"Do": "merge"})
        except urllib.error.HTTPError as error:
            if error.code != 405:
                raise
        return bool(self.ask("GET", path)["merged"])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        head = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, head, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _command(self, *arguments: str) -> list[str]:
        program = binaries.path("gitea") or "gitea"
        return [program, *arguments, "--config", str(self.folder / "app.ini")]

    def _admin(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments), env={**os.environ, **self._environ}, cwd=self.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"gitea {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def _environ(self) -> dict[str, str]:
        return {"GITEA_WORK_DIR": str(self.folder), "HOME": str(self.folder), "USER": "root"}


_SETTINGS = """\
APP_NAME = e2e
RUN_MODE = prod
RUN_USER = root
WORK_PATH = {folder}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = {files}
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
SQLITE_TIMEOUT = 30000
SQLITE_JOURNAL_MODE = WAL
[repository]
ROOT = {folder}/repositories
DEFAULT_PRIVATE = public
[security]
INSTALL_LOCK = true
SECRET_KEY = a-secret-of-this-test-forge
PASSWORD_COMPLEXITY = off
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = false
[webhook]
ALLOWED_HOST_LIST = *
[log]
LEVEL = Warn
MODE = console
"""
