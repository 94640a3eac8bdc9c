"""The net itself: each thing that a call may not do is noticed."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.hostile.net import OUTSIDE, SECRET, Done, Hostile, Listener, Sandbox, complaints
from tests.support.cost import SECONDS
from tests.support.hostile_archives import bomb

if TYPE_CHECKING:
    from pathlib import Path

WELL = Done(code=0, cpu=0.1, grown_mib=5, out="fine\n", err="")
ONE = Hostile(name="x")
SHOWN = {
    "a traceback": replace(WELL, err="Traceback (most recent call last):\n"),
    "another exit code": replace(WELL, code=70),
    "a signal": replace(WELL, code="SIGXCPU"),
    "a secret": replace(WELL, out=f"token {SECRET}-github-token"),
    "what is outside": replace(WELL, err=f"line: {OUTSIDE}: root"),
    "an escape": replace(WELL, err="\x1b[31mred"),
    "a direction": replace(WELL, out="\u202eevil"),
    "too much time": replace(WELL, cpu=2 * SECONDS),
    "too much memory": replace(WELL, grown_mib=201),
}


@pytest.fixture
def sandbox(tmp_path: Path, listener: Listener) -> Sandbox:
    listener.reset(())
    return Sandbox(tmp_path / "place", listener.host)


@pytest.mark.parametrize("what", SHOWN)
def test_what_a_call_shows_or_takes_is_noticed(
    sandbox: Sandbox, listener: Listener, what: str
) -> None:
    assert complaints(sandbox, ONE, SHOWN[what], listener=listener, harmless=0.1)


def test_a_call_that_does_well_is_left_alone(sandbox: Sandbox, listener: Listener) -> None:
    assert complaints(sandbox, ONE, WELL, listener=listener, harmless=0.1) == []


@pytest.mark.parametrize("place", ["trip/executed", "project/out.yaml", "cache/a/b"])
@pytest.mark.parametrize("text", [SECRET, OUTSIDE])
def test_what_a_call_writes_is_noticed(
    sandbox: Sandbox, listener: Listener, place: str, text: str
) -> None:
    path = sandbox.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"x: {text}\n")
    assert complaints(sandbox, ONE, WELL, listener=listener, harmless=0.1)


@pytest.mark.parametrize("form", ["bare", "basic"])
def test_what_a_call_sends_is_noticed(sandbox: Sandbox, listener: Listener, form: str) -> None:
    shown = f"u:{SECRET}".encode()
    listener.received = b"GET / HTTP/1.1\r\nAuthorization: Basic " + (
        shown if form == "bare" else base64.b64encode(shown)
    )
    assert complaints(sandbox, ONE, WELL, listener=listener, harmless=0.1)


def test_a_bomb_is_the_gzip_file_that_it_stands_for() -> None:
    packed = bomb(b"head", 3 << 20)
    assert gzip.decompress(packed) == b"head" + bytes(3 << 20)
    assert len(packed) < 10_000
