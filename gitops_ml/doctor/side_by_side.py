"""Run probes side by side, each for a bounded time."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from gitops_ml.doctor.outcome import Check, Probe, finding
from gitops_ml.errors import GitopsMlError, Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_Answer = tuple[int, "tuple[Check, ...] | BaseException"]


def examine(probes: Sequence[Probe], *, seconds: float) -> tuple[Check, ...]:
    """The checks of all probes, in their order; one that takes longer than ``seconds`` is a finding.

    A deliberate failure of a probe is a finding about its subject. Another error is a bug, and is raised.
    """
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    for number, probe in enumerate(probes):
        # A daemon: what does not answer must not keep the process from its end.
        threading.Thread(target=_run, args=(number, probe, answers), daemon=True).start()
    found: dict[int, tuple[Check, ...]] = {}
    until = time.monotonic() + seconds
    while len(found) < len(probes):
        try:
            number, result = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(result, BaseException):
            raise result
        found[number] = result
    late = {n: (_late(probe, seconds),) for n, probe in enumerate(probes) if n not in found}
    return tuple(check for _, each in sorted((found | late).items()) for check in each)


def _run(number: int, probe: Probe, answers: queue.SimpleQueue[_Answer]) -> None:
    try:
        answers.put((number, tuple(probe.look())))
    except GitopsMlError as error:
        answers.put((number, (failure(probe.subject, error),)))
    except BaseException as error:  # noqa: BLE001 — raised again in the thread that waits
        answers.put((number, error))


def failure(subject: str, error: GitopsMlError) -> Check:
    """The finding for what could not be done; most messages end with their own remedy."""
    remedy = {
        UsageError: "correct what it names: a field of gitops-ml.yaml, or a setting of this machine",
        Refused: "log in with credentials that have this right",
    }.get(type(error), "check the address, the network (VPN, proxy) and the server's own log")
    return finding(subject, str(error), remedy)


def _late(probe: Probe, seconds: float) -> Check:
    return finding(
        probe.subject,
        f"no answer within {seconds:g} seconds",
        "check the network (VPN, proxy); for servers that are only slow, set --timeout to more seconds",
    )
