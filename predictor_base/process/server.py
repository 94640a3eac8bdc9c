"""Open the ports of a replica, and serve with a supervisor and its workers."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor_base.settings import Settings

logger = logging.getLogger("predictor_base")


def serve(settings: Settings, *, host: str, port: int, grpc: str = "") -> int:
    """Serve until a signal; returns the exit code."""
    count = settings.processes_per_replica
    try:
        listeners = [bind(host, port, shared=count > 1)]
        port = listeners[0].getsockname()[1]
        listeners += [bind(host, port, shared=True) for _ in range(count - 1)]
        probes = bind(host, settings.probe_port) if settings.probe_port is not None else None
    except OSError as error:
        logger.error("cannot listen on %s: %s", host, error)
        return 1
    try:
        folder = tempfile.mkdtemp(prefix="predictor-metrics-")
    except OSError as error:
        logger.error("no folder for metrics: %s; make /tmp writable or set TMPDIR", error)
        return 1
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    # A late import: prometheus_client reads the variable when it is imported.
    from predictor_base.process.supervisor import Supervisor

    try:
        return Supervisor(settings, listeners=listeners, probes=probes, grpc=grpc).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket, on which a server can listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener
