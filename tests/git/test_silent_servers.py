"""Servers that accept and then send nothing, or nearly nothing: git is stopped, with all it started."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_ml.errors import RepositoryMoved, ServerFailed, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.environment import conversation_seconds
from gitops_ml.git.remote import Remote
from gitops_ml.git.repository import GitRepository
from tests.support.git_servers import bare_repository, git

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHOR = ("Ann", "ann@example.org")
SECONDS = 1
GENEROUS = 60
"""Seconds that a busy machine may take to end what is outdated."""


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("XDG_CONFIG_HOME", "GIT_SSH_COMMAND", "GIT_SSH"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def server(trickle: bytes = b"") -> Iterator[int]:
    """The port of a server that takes every connection and sends ``trickle``, a byte a half second."""
    with socket.socket() as listening, contextlib.ExitStack() as open_ones:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        ended = threading.Event()

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                for byte in trickle:
                    connection.sendall(bytes([byte]))
                    if ended.wait(0.5):
                        return

        def accept() -> None:
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    connection = open_ones.enter_context(listening.accept()[0])
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def opened(url: str, tmp_path: Path, *, seconds: float = SECONDS) -> GitRepository:
    return GitRepository(
        Remote.parse(url, folder=tmp_path),
        branch="main",
        cache=tmp_path / "cache",
        environ={"GITOPS_ML_GIT_TIMEOUT": str(seconds)},
    )


TRICKLES = {
    "git": b"0040" + b"0" * 1000,
    "http": b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
    + b"0" * 1000,
    "ssh": b"SSH-2.0-slow" + b"y" * 200 + b"\r\n" + b"\0" * 1000,
}


@pytest.mark.parametrize("kind", ["silent", "a byte at a time"])
@pytest.mark.parametrize("scheme", TRICKLES)
def test_a_server_that_does_not_answer_is_given_up_with_all_processes(tmp_path, scheme, kind):
    if scheme == "ssh" and not any(Path(p, "ssh").exists() for p in os.environ["PATH"].split(":")):
        pytest.skip("ssh is not installed")
    with server(TRICKLES[scheme] if kind != "silent" else b"") as port:
        repository = opened(f"{scheme}://127.0.0.1:{port}/x.git", tmp_path)
        began = time.monotonic()
        with pytest.raises(
            ServerFailed,
            match=r"did not finish `git fetch` within 1 seconds.*GITOPS_ML_GIT_TIMEOUT",
        ):
            repository.fetch()
        assert time.monotonic() - began < SECONDS + GENEROUS
        assert ended(str(port))
    # The lock is free, and the clone is whole.
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    whole = opened(str(bare), tmp_path, seconds=GENEROUS).fetch()
    assert whole.commit == git("rev-parse", "main", cwd=bare)


def ended(text: str) -> bool:
    """Whether no git or ssh is left that names ``text``; what is killed needs a moment to end."""
    deadline = time.monotonic() + GENEROUS
    while processes_that_name(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_that_name(text: str) -> list[str]:
    """Command lines of git and ssh that have ``text`` in them."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if re.match(r"\S*(git|ssh)", line) and text in line:
                found.append(line)
    return found


def test_a_push_that_gets_no_answer_is_given_up(tmp_path):
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    base = opened(str(bare), tmp_path, seconds=GENEROUS).fetch()
    with server() as port:
        slow = opened(f"git://127.0.0.1:{port}/x.git", tmp_path / "slow")
        slow._clone.folder.parent.mkdir(parents=True)
        git("clone", "-q", "--bare", str(bare), str(slow._clone.folder))
        commit = slow.commit(base, [Change("b", None, b"b")], message="m", author=AUTHOR)
        with pytest.raises(ServerFailed, match="did not finish `git push` within 1 seconds"):
            slow.push(commit)


def test_a_slow_server_that_goes_on_is_waited_for(tmp_path):
    """The deadline is for a whole conversation; one that ends before it is none of its business."""
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    assert opened(str(bare), tmp_path, seconds=GENEROUS).fetch().commit


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(value):
    with pytest.raises(
        UsageError, match=r"GITOPS_ML_GIT_TIMEOUT is '.*'; give a number of seconds"
    ):
        conversation_seconds({"GITOPS_ML_GIT_TIMEOUT": value})


def test_without_a_setting_a_server_has_minutes(tmp_path):
    assert 120 <= conversation_seconds({}) <= 600


# -- those who wait --------------------------------------------------------------------------------


HOLDER = """
import sys
from pathlib import Path
from tests.git.test_silent_servers import opened
repository = opened(sys.argv[1], Path(sys.argv[2]), seconds=120)
with repository._clone.hold():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the clone."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(tmp_path)],
        cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate("")


def test_one_who_waits_says_for_whom_and_gives_up(tmp_path):
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    with holder(str(bare), tmp_path) as other:
        repository = opened(str(bare), tmp_path, seconds=0.5)
        lines: list[str] = []
        repository._clone._progress = lines.append
        who = rf"another gitops-ml \(process {other.pid} on .+, since 20\S+\)"
        with pytest.raises(RepositoryMoved, match=f"waited 1 seconds for {who}"):
            repository.fetch()
        (line,) = lines
        assert re.match(f"waiting for {who}, which works on the same repository", line)
    assert opened(str(bare), tmp_path, seconds=GENEROUS).fetch().commit


def test_one_who_waits_goes_on_when_the_other_has_ended(tmp_path):
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    with holder(str(bare), tmp_path) as other:
        found: list[str | None] = []
        thread = threading.Thread(
            target=lambda: found.append(opened(str(bare), tmp_path, seconds=60).fetch().commit)
        )
        thread.start()
        other.kill()
        thread.join()
    assert found == [git("rev-parse", "main", cwd=bare)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 99])
def test_a_lock_without_a_name_in_it_is_still_a_lock(tmp_path, content):
    bare = bare_repository(tmp_path / "gitops.git", {"a": "a"})
    opened(str(bare), tmp_path, seconds=GENEROUS).fetch()
    repository = opened(str(bare), tmp_path, seconds=0.1)
    with holder(str(bare), tmp_path):
        Path(f"{repository._clone.folder}.lock").write_bytes(content)
        with pytest.raises(RepositoryMoved, match="for another gitops-ml, which works"):
            repository.fetch()
