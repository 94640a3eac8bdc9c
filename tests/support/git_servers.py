"""Real git servers on this machine for the tests: git://, HTTP with a password, SSH."""

from __future__ import annotations

import base64
import contextlib
import functools
import getpass
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.http_servers import Handler, answering
from tests.support.ports import free_port

USER, TOKEN = "x-access-token", f"tok-{secrets.token_hex(8)}"
"""A token of this process: other tests that run now may show theirs in command lines."""


def git(
    *arguments: str | os.PathLike[str], cwd: Path | None = None, input: str | None = None
) -> str:
    """What git prints; with nobody's configuration but its own defaults."""
    command = ["git", "-c", "init.defaultBranch=main", *map(os.fspath, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=_environ(), input=input, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def _environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "T",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "T",
        "GIT_COMMITTER_EMAIL": "t@example.org",
    }


def bare_repository(folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A bare repository that takes pushes over HTTP too, with one commit of ``files`` on main."""
    folders, content = _empty_repository()
    for name in folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    if files is not None:
        commit_files(folder, files)
    return folder


@functools.cache
def _empty_repository() -> tuple[tuple[Path, ...], dict[Path, bytes]]:
    """The folders and files of an empty bare repository: thousands of tests begin with one."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        git("init", "-q", "--bare", "--template=", root)
        git("config", "http.receivepack", "true", cwd=root)
        found = sorted(root.rglob("*"))
        folders = [path.relative_to(root) for path in found if path.is_dir()]
        files = {path.relative_to(root): path.read_bytes() for path in found if path.is_file()}
    return (*folders, Path("hooks")), files


def branches(repository: Path) -> dict[str, str]:
    """The commit of each branch of a bare repository, read from its files: no process is started."""
    heads, packed = repository / "refs/heads", repository / "packed-refs"
    loose = {}
    for path in heads.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if path.suffix != ".lock":
                loose[path.relative_to(heads).as_posix()] = path.read_text().strip()
    # Last: a branch that is packed meanwhile is found there.
    lines = packed.read_text().splitlines() if packed.is_file() else []
    pairs = (line.split(" ", 1) for line in lines if line[:1] not in "#^")
    known = {name.removeprefix("refs/heads/"): id for id, name in pairs}
    return known | loose


def commit_files(
    repository: Path, files: Mapping[str, str | bytes | None], branch: str = "main"
) -> str:
    """Somebody else's commit, straight in the bare repository; `None` deletes. Returns its id."""
    ref = f"refs/heads/{branch}"
    heads = branches(repository).get(branch)
    parts = [f"commit {ref}\ncommitter S <s@example.org> 1700000000 +0000\ndata 1\nx\n".encode()]
    parts += [f"from {heads}\n".encode()] if heads else []
    for path, content in files.items():
        if content is None:
            parts.append(f"D {path}\n".encode())
            continue
        data = content.encode() if isinstance(content, str) else content
        parts.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
    command = ["git", "fast-import", "--quiet"]
    subprocess.run(command, cwd=repository, env=_environ(), input=b"".join(parts), check=True)
    return branches(repository)[branch]


@contextlib.contextmanager
def git_daemon(base: Path, *, writable: bool = True) -> Iterator[str]:
    """``git daemon`` over ``base``; gives the start of its URLs."""
    port = free_port()
    command = [
        "git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", "--reuseaddr",
        f"--base-path={base}", *(["--enable=receive-pack"] if writable else []), str(base),
    ]  # fmt: skip
    # In a session of its own: the daemon is a child of the `git` that we start.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _until_it_listens(port, process)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """sshd with keys of its own; gives the start of its URLs and the variables that reach it.

    A small ``ssh`` first on PATH adds the client's configuration, so that what is tested is our own
    way of calling ssh.
    """
    folder.mkdir(mode=0o700)
    for name in ("host", "client"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    port = free_port()
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"Host *\n  User {getpass.getuser()}\n  IdentityFile {folder}/client\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
    )
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    with contextlib.suppress(PermissionError):
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        command = [sshd_program(), "-D", "-e", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _until_it_listens(port, process)
        yield f"ssh://127.0.0.1:{port}", {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
    finally:
        process.terminate()
        process.wait()


def sshd_program() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        with socket.socket() as probe:
            probe.settimeout(0.01)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nothing listens on port {port}")


@dataclass
class HttpServer:
    """``git http-backend`` behind Basic auth."""

    base: Path
    users: dict[str, str] = field(default_factory=lambda: {USER: TOKEN})
    readers: frozenset[str] = frozenset()
    """Users who may fetch but not push: they get a 403."""
    failing: int | None = None
    """A status that answers everything."""
    before_push: threading.Event | None = None
    """A push is held until this is set; ``pushing`` says that one has come."""
    pushing: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator[HttpServer]:
        with answering(_handler(self)) as host:
            self.url = f"http://{host}"
            yield self

    def api(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Any:
        """What a forge's API answers beside git; here there is none."""
        return None

    def user_in(self, header: str | None) -> str | None:
        if not header or not header.startswith("Basic "):
            return None
        name, _, password = base64.b64decode(header[6:]).decode().partition(":")
        return name if self.users.get(name) == password else None


def _handler(server: HttpServer) -> type[Handler]:
    class Git(Handler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self._body())

        do_PUT = do_PATCH = do_DELETE = do_POST

        def _answer(self, body: bytes) -> None:
            server.seen.append(f"{self.command} {self.path}")
            reply = server.api(self.command, self.path, dict(self.headers), body)
            if reply is not None:
                self._say_json(reply)
                return
            user = server.user_in(self.headers.get("Authorization"))
            writes = "git-receive-pack" in self.path
            if server.failing:
                self.answer(server.failing, b"out of order\n")
            elif user is None:
                self.answer(401, b"who are you?\n", {"WWW-Authenticate": 'Basic realm="git"'})
            elif writes and user in server.readers:
                self.answer(403, b"read only\n")
            else:
                if self.command == "POST" and writes and server.before_push:
                    server.pushing.set()
                    server.before_push.wait(60)
                self._backend(user, body)

        def _backend(self, user: str, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            environ = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(server.base), "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": user,
                "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }  # fmt: skip
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environ, capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if line)
            status = int(headers.pop("Status", "200").split()[0])
            self.answer(status, content, headers)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _say_json(self, reply: Any) -> None:
            if reply.drops_the_line:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = b"" if reply.data is None else json.dumps(reply.data).encode()
            self.answer(reply.status, body, {"Content-Type": "application/json", **reply.headers})

    return Git
