"""A real Docker engine and real registries for the tests, started by them and ended with them.

Everything listens on the loopback or a socket in a temporary directory. The engine has a bridge of
its own: with ``--bridge=none`` it would delete the bridge of an engine that is already here. Tests
that use ``docker_engine`` carry `needs_docker`, so that one worker alone starts it.

Where the programs are missing the tests skip; with ``GITOPS_ML_REQUIRE_REAL=1`` they fail.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.ports import free_port

PROGRAMS = ("dockerd", "docker-registry", "htpasswd", "ip", "iptables", "ldconfig")
USER, PASSWORD = "ci", "s3cret-of-the-tests"
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

needs_docker = [pytest.mark.docker, pytest.mark.xdist_group("docker")]
"""For ``pytestmark`` of modules whose tests use the engine."""


@dataclass(frozen=True)
class Engine:
    """A running Docker engine."""

    address: str
    log: Path


@dataclass(frozen=True)
class RealRegistry:
    """A running registry, and an environment with the credentials it wants."""

    host: str
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)


def missing() -> tuple[str, ...]:
    """What the machine lacks for an engine."""
    lacking = [program for program in PROGRAMS if not find(program)]
    return tuple(lacking if os.geteuid() == 0 else [*lacking, "root"])


def find(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where real neighbours are required."""
    if os.environ.get("GITOPS_ML_REQUIRE_REAL") == "1":
        pytest.fail(f"{reason}, and GITOPS_ML_REQUIRE_REAL=1 wants it to be there", pytrace=False)
    pytest.skip(reason)


def require(*programs: str) -> None:
    lacking = [program for program in programs if not find(program)]
    if lacking:
        unavailable(f"a real neighbour is missing on this machine: {', '.join(lacking)}")


@contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """A file system of ``size`` at ``folder``, while the block runs."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def running(
    command: list[str], *, log: Path, is_ready: Callable[[], bool], seconds: float = 60
) -> Iterator[None]:
    """A program while the block runs: ready when it begins, ended by its own pid afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=os.environ | {"PATH": _PATH},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + seconds
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    unavailable(f"{command[0]} does not start here: {tail}")
                time.sleep(0.03)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real engine that belongs to this run."""
    if lacking := missing():
        unavailable(f"no Docker engine can be started here: missing {', '.join(lacking)}")
    # socket paths may have 107 bytes: the temporary directories of pytest are longer
    home = Path(tmp_path_factory.mktemp("engine"))
    with _bridge() as bridge, _short_directory() as short:
        address = short / "docker.sock"
        command = [
            str(find("dockerd")), "-H", f"unix://{address}", "-b", bridge,
            "--data-root", str(home / "data"), "--exec-root", str(short / "exec"),
            "--pidfile", str(short / "pid"),
        ]  # fmt: skip
        log = home / "dockerd.log"
        with ExitStack() as stack:
            with _one_at_a_time():
                is_ready = functools.partial(_engine_answers, address)
                stack.enter_context(running(command, log=log, is_ready=is_ready))
            yield Engine(f"unix://{address}", log)


def engine_containerd(engine: Engine) -> Path:
    """The socket of the containerd that the engine has started for itself."""
    return Path(engine.address.removeprefix("unix://")).parent / "exec/containerd/containerd.sock"


def _engine_answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(address))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(64)
        except OSError:  # not there yet, or gone again: `running` looks at the process
            return False


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep other runs waiting: engines that start together fall over each other's iptables chains."""
    import tempfile

    with open(os.path.join(tempfile.gettempdir(), "gitops-ml-tests-engine.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _short_directory() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gm", ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        finally:  # dockerd leaves the namespace of its network mounted there
            for line in Path("/proc/mounts").read_text().splitlines():
                if (place := line.split()[1]).startswith(f"{name}/"):
                    subprocess.run(["umount", "-l", place], capture_output=True, check=False)


@contextmanager
def _bridge() -> Iterator[str]:
    ip, name = str(find("ip")), f"gm{os.getpid()}"
    taken = subprocess.run([ip, "-4", "addr"], capture_output=True, text=True, check=True).stdout
    first = os.getpid() % 200
    net = next(n for n in range(first, first + 50) if f"172.31.{n}." not in taken)
    try:
        for arguments in (
            ["link", "add", name, "type", "bridge"],
            ["addr", "add", f"172.31.{net}.1/24", "dev", name],
            ["link", "set", name, "up"],
        ):
            done = subprocess.run([ip, *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                unavailable(f"no network bridge can be made here: {done.stderr.strip()}")
        yield name
    finally:
        subprocess.run([ip, "link", "del", name], capture_output=True, check=False)
        _remove_rules(name)


def _remove_rules(bridge: str) -> None:
    """Remove the rules of the packet filter for a bridge: dockerd leaves them behind."""
    if (iptables := find("iptables")) is None:
        return
    for table in ("filter", "nat"):
        command = [str(iptables), "-w", "-t", table]
        listed = subprocess.run([*command, "-S"], capture_output=True, text=True, check=False)
        for rule in map(str.split, listed.stdout.splitlines()):
            if rule[0] == "-A" and bridge in rule:
                subprocess.run([*command, "-D", *rule[1:]], capture_output=True, check=False)


@contextmanager
def registry_running(
    home: Path, *, auth: Mapping[str, object] | None = None
) -> Iterator[RealRegistry]:
    """A real registry; ``auth`` is that part of its configuration."""
    require("docker-registry")
    port = free_port()
    settings = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(home / "data")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
        **({"auth": auth} if auth else {}),
    }
    (home / "registry.json").write_text(json.dumps(settings))
    command = [str(find("docker-registry")), "serve", str(home / "registry.json")]
    log = home / "registry.log"
    with running(command, log=log, is_ready=lambda: answers("127.0.0.1", port)):
        yield RealRegistry(f"127.0.0.1:{port}", log)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A real registry that asks nobody for a name."""
    with registry_running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A real registry that wants a password; ``environ`` holds it as docker stores it."""
    require("htpasswd")
    home = tmp_path_factory.mktemp("private")
    table = subprocess.run(
        [str(find("htpasswd")), "-Bbn", USER, PASSWORD], capture_output=True, check=True
    ).stdout
    (home / "htpasswd").write_bytes(table)
    auth = {"htpasswd": {"realm": "tests", "path": str(home / "htpasswd")}}
    with registry_running(home, auth=auth) as found:
        entry = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        environ = docker_config(home / "docker", {"auths": {found.host: entry}})
        yield RealRegistry(found.host, found.log, environ)


def docker_config(directory: Path, config: Mapping[str, object]) -> dict[str, str]:
    """The environment in which ``config`` is the user's docker configuration."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    return {"DOCKER_CONFIG": str(directory), "HOME": str(directory), "PATH": _PATH}
