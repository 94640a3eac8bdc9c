"""Ports of this machine for servers that a test starts: no other process gets one before the server has it."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress

# Below those that Linux gives to connections and to port 0, and those of Kubernetes' services.
_PORTS = range(10_000, 30_000)
# The bytes of a file stand for ports: a lock on one ends with this process, however that ends.
_taken = os.open(
    f"{tempfile.gettempdir()}/gitops-ml-tests-ports-{os.getuid()}", os.O_WRONLY | os.O_CREAT, 0o600
)


def free_port() -> int:
    """A port that this process alone gets: other workers and other runs of the tests take others."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in _own and _is_locked(port):
            _own.add(port)
            with suppress(OSError), socket.socket() as probe:
                probe.bind(("", port))
                return port
    raise AssertionError(f"no port from {_PORTS[0]} to {_PORTS[-1]} is free")


_own: set[int] = set()
"""A lock of this process does not keep it from a second one on the same byte."""


def _is_locked(port: int) -> bool:
    try:
        fcntl.lockf(_taken, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True
