"""What counts as this machine, for registries and forges alike."""

from __future__ import annotations

import pytest

from gitops_ml.http.urls import is_loopback


@pytest.mark.parametrize(
    "server",
    ["127.0.0.1", "127.0.0.1:5000", "127.8.8.8", "localhost", "LocalHost:1", "registry.localhost:80",
     "::1", "[::1]", "[::1]:5000", "0:0:0:0:0:0:0:1"],
)  # fmt: skip
def test_this_machine_has_many_names(server: str) -> None:
    assert is_loopback(server)


@pytest.mark.parametrize(
    "server",
    ["", "10.0.0.1:5000", "127.0.0.1.example", "127.1.example:80", "localhost.example", "ghcr.io",
     "notlocalhost", "::2", "[2001:db8::1]:5000", "localhost:", "127.0.0.1:x",
     "evil.example\\.localhost", "evil.example#.localhost", "evil.example:1@.localhost", "ü.localhost",
     "localhost.", "a.localhost."],
)  # fmt: skip
def test_other_machines_are_not_it(server: str) -> None:
    assert not is_loopback(server)
