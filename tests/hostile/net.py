"""The net: a place with canaries, a server that listens, and the judgement of what a call did."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cost import SECONDS

ROOT = Path(__file__).parents[2]
SECRET, OUTSIDE = "CANARY-SECRET", "CANARY-OUTSIDE"
MEBIBYTES = 200
DELIBERATE = frozenset(range(8))
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal or a reader of Markdown obeys, but for tab, line feed and what progress needs."""
SECRETS = {
    name: f"{SECRET}-{name.lower().replace('_', '-')}"
    for name in (
        "GITHUB_TOKEN", "GITLAB_TOKEN", "GITEA_TOKEN", "GITOPS_TOKEN", "CI_JOB_TOKEN",
        "AWS_SECRET_ACCESS_KEY", "COSIGN_PASSWORD", "KEYRING_PASSWORD", "INDEX_PASSWORD",
    )
}  # fmt: skip
PROJECT_FILE = b"""\
project: shop
image: {repository: r.example.org/ml, base: 'r.example.org/base@sha256:%s', python_version: '3.11'}
gitops: {repository: '{root}/gitops.git'}
clusters: {main: {server: 'https://kubernetes.default.svc'}}
environments: {staging: {cluster: main, namespace: ml}}
""" % (b"1" * 64)
MANIFEST = b"- name: answer\n  kind: RealtimeAPI\n  predictor: {path: predictor.py}\n"
PREDICTOR = b"class PythonPredictor:\n    def predict(self, payload):\n        return {}\n"
FILES = {"gitops-ml.yaml": PROJECT_FILE, "api.yaml": MANIFEST, "predictor.py": PREDICTOR}


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One input: files of the project, or what makes them, and what a server answers."""

    name: str
    files: Mapping[str, bytes | None] = field(default_factory=dict)
    """Beside those of a harmless project; ``None`` removes one. ``{root}``, ``{trip}`` and ``{host}`` are
    replaced."""
    build: Callable[[Sandbox], None] | None = None
    answers: tuple[bytes, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    codes: frozenset[int] = DELIBERATE

    def __str__(self) -> str:
        return self.name


@dataclass
class Done:
    """What a call ended with, and what it took."""

    code: int | str
    cpu: float
    grown_mib: int
    out: str
    err: str


class Listener:
    """A server on this machine: answers requests with raw bytes, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self, answers: Iterable[bytes]) -> None:
        """Forget what came, and answer with these, one after the other, the last one for ever."""
        self.answers = [each.replace(b"{host}", self.host.encode()) for each in answers]
        self.received = b""

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            connection.settimeout(60)
            head = connection.recv(1 << 16)
            if head.startswith(b"\x16"):
                return  # it speaks no TLS
            while b"\r\n\r\n" not in head and (piece := connection.recv(1 << 16)):
                head += piece
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while length and len(head.partition(b"\r\n\r\n")[2]) < int(length[1]):
                if not (piece := connection.recv(1 << 16)):
                    break
                head += piece
            self.received += head
            if self.answers:
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass


@dataclass
class Sandbox:
    """A folder with a project, a home with secrets, a file outside, and a folder that stays empty."""

    root: Path
    host: str
    hidden: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for folder in (self.project, self.trip, self.home / ".ssh", self.root / "cache"):
            folder.mkdir(parents=True)
        self.hidden = (self.root / "outside.txt", self.home / ".ssh" / "id_ed25519")
        for path in self.hidden:
            path.write_text(f"six==1.0 # {OUTSIDE}\n{OUTSIDE}: root\n")
        (self.home / "bin").mkdir()

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def trip(self) -> Path:
        return self.root / "trip"

    def filled(self, text: bytes) -> bytes:
        """With the names of this place."""
        return (
            text.replace(b"{root}", os.fsencode(self.root))
            .replace(b"{trip}", os.fsencode(self.trip))
            .replace(b"{host}", self.host.encode())
        )

    def write(self, files: Mapping[str, bytes | None], *, below: Path | None = None) -> None:
        """Files of the project; ``None`` removes one."""
        for name, content in files.items():
            path = (below or self.project) / name
            if content is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.filled(content))

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """That of a CI job: secrets, and nothing of the person who runs the tests."""
        proxy = f"http://{self.host}"
        own = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "GITOPS_ML_CACHE": str(self.root / "cache"),
            "UV_CACHE_DIR": str(self.root / "uv"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PIP_INDEX_URL": f"http://{self.host}/simple",
            # how long uv waits before it asks again is not of interest
            "UV_HTTP_RETRIES": "0",
            # whatever server an input names, it is ours that is asked, and what it is sent is seen
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        filled = {name: self.filled(value.encode()).decode() for name, value in more.items()}
        return {**own, **SECRETS, **filled}


class Zygote:
    """The process that forks the children; one for each worker of the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def run(self, sandbox: Sandbox, hostile: Hostile, *, call: str = "gitops-ml") -> Done:
        """What the call made of the input."""
        job = {
            "call": call,
            "arguments": [sandbox.filled(each.encode()).decode() for each in hostile.arguments],
            "cwd": str(sandbox.project),
            "env": sandbox.environ(hostile.env),
            "out": str(sandbox.root / "stdout"),
            "err": str(sandbox.root / "stderr"),
            "seconds": 30,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Done(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def complaints(
    sandbox: Sandbox, hostile: Hostile, done: Done, *, listener: Listener, harmless: float
) -> list[str]:
    """What the call did that it may not do; ``harmless`` is the CPU time of a harmless input."""
    output = done.out + done.err
    found = []
    if done.code not in hostile.codes:
        found.append(f"ended with {done.code}, not with one of {sorted(hostile.codes)}")
    if "Traceback (most recent call last)" in output:
        found.append("showed a traceback")
    if marks := sorted(path.name for path in sandbox.trip.iterdir()):
        found.append(f"executed {marks}")
    found += [f"showed {canary}" for canary in (SECRET, OUTSIDE) if canary in output]
    found += [f"wrote {what}" for what in _written(sandbox)]
    if SECRET.encode() in listener.received or _encoded_secret(listener.received):
        found.append("sent a secret")
    if control := _CONTROLS.search(output.replace("\r\n", "\n")):
        found.append(f"showed the control character {control[0]!r}")
    if done.cpu > SECONDS + 3 * harmless:
        found.append(f"took {done.cpu:.1f} s of CPU")
    if done.grown_mib > MEBIBYTES:
        found.append(f"took {done.grown_mib} MiB")
    return found and [*found, f"stderr: {done.err[-600:]}"]


def _written(sandbox: Sandbox) -> Iterable[str]:
    """The files that hold a canary and are not its own."""
    spared = {*sandbox.hidden, sandbox.root / "stdout", sandbox.root / "stderr"}
    for path in sorted(sandbox.root.rglob("*")):
        if path in spared or path.is_symlink() or not path.is_file():
            continue
        with suppress(OSError), path.open("rb") as file:
            text = file.read(4 << 20)
            for canary in (SECRET, OUTSIDE):
                if canary.encode() in text:
                    yield f"{canary} into {path.relative_to(sandbox.root)}"


def _encoded_secret(received: bytes) -> bool:
    """Whether a request shows a secret as Basic credentials."""
    import base64
    import binascii

    for text in re.findall(rb"(?i)authorization: *basic +(\S+)", received):
        with suppress(binascii.Error):
            if SECRET.encode() in base64.b64decode(text):
                return True
    return False
