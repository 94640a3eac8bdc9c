"""Assemble a predictor: its class, its clients, its warm-up. Runs on the thread of predict."""

from __future__ import annotations

import copy
import fcntl
import gc
import logging
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictor_base.predictor.hooks import run_hook
from predictor_base.predictor.loader import (
    CLIENT_ARGUMENTS,
    LoadedPredictor,
    create_predictor,
    load_class,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from predictor_base.settings import Settings
    from predictor_base.telemetry.metrics import Metrics

logger = logging.getLogger("predictor_base")


@dataclass(slots=True)
class Assembled:
    """A predictor, and what must be closed after it."""

    predictor: LoadedPredictor
    client: Any = None  # of predictor_base.models, by what it can do
    load_seconds: float = 0.0

    def close(self) -> None:
        """Call the predictor's shutdown, then unload its models."""
        for end in (self.predictor.hook("shutdown"), getattr(self.client, "close", None)):
            if end is not None:
                try:
                    run_hook(end)
                except (
                    BaseException
                ):  # also SystemExit: the client is closed, and the log has the reason
                    logger.exception("shutdown failed")


def assemble(settings: Settings, metrics: Metrics, *, folder: Path) -> Assembled:
    """Load the class, construct it, load its models, and warm it up."""
    started = time.perf_counter()
    with _one_process_at_a_time(settings, folder):
        kind = load_class(settings, folder=folder)
        client = _client(settings, metrics)
        predictor = create_predictor(kind, settings, offered=_offered(settings, client, metrics))
        if client is not None:
            client.load(predictor.instance)
        if warmup := predictor.hook("warmup"):
            run_hook(warmup)
    gc.collect()
    gc.freeze()  # loaded objects stay, so later garbage collections can skip them
    return Assembled(predictor, client, time.perf_counter() - started)


def _client(settings: Settings, metrics: Metrics) -> Any:
    if settings.type == "python" and not (settings.models or settings.multi_model_reloading):
        return None
    from predictor_base.models import build_client

    return build_client(settings, registry=metrics.registry)


def _offered(settings: Settings, client: Any, metrics: Metrics) -> dict[str, Callable[[], object]]:
    """The arguments that a constructor can name, created on demand."""

    def metrics_client() -> object:
        from predictor_base.telemetry.metrics_client import MetricsClient

        return MetricsClient(metrics.registry)

    clients = dict.fromkeys(CLIENT_ARGUMENTS[settings.type], lambda: client)
    return {
        "config": lambda: copy.deepcopy(dict(settings.config)),
        "metrics_client": metrics_client,
        "job_spec": lambda: None,
        **clients,
    }


@contextmanager
def _one_process_at_a_time(settings: Settings, folder: Path) -> Iterator[None]:
    """Let processes load one after another, as in Cortex: half the peak memory, one download."""
    if settings.processes_per_replica == 1:
        yield
        return
    lock = Path(tempfile.gettempdir()) / f"predictor-{settings.name}-load.lock"
    with lock.open("w") as handle:
        # a lock of the process: what the predictor forks has the open file, but not the lock
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
