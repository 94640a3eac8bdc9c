"""Run probes side by side, each for a bounded time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitops_ml.doctor.outcome import SKIPPED, Check, Probe, finding, skipped
from gitops_ml.errors import GitopsMlError, Refused, UsageError

_Answer = tuple[int, "_Result | BaseException"]


@dataclass(frozen=True, slots=True)
class _Result:
    checks: tuple[Check, ...]
    is_known: bool
    """Whether the probe found something out; not where it failed, or may not look."""


def examine(probes: Sequence[Probe], *, seconds: float) -> tuple[Check, ...]:
    """The checks of all probes, in their order; one that takes longer than ``seconds`` is a finding.

    A deliberate failure of a probe is a finding about its subject; of the probes of a server that answers none of
    them, the first one has it. Another error is a bug, and is raised.
    """
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    for number, probe in enumerate(probes):
        # A daemon: what does not answer must not keep the process from its end.
        threading.Thread(target=_run, args=(number, probe, answers), daemon=True).start()
    found: dict[int, _Result] = {}
    until = time.monotonic() + seconds
    while len(found) < len(probes):
        try:
            number, result = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(result, BaseException):
            raise result
        found[number] = result
    late = {
        n: _Result((_late(probe, seconds),), is_known=False)
        for n, probe in enumerate(probes)
        if n not in found
    }
    results = [each for _, each in sorted((found | late).items())]
    return tuple(_once_a_server(probes, results))


def _once_a_server(probes: Sequence[Probe], results: Sequence[_Result]) -> Iterator[Check]:
    """The checks; a server of which nothing is known is one finding."""
    known = {probe.server for probe, each in zip(probes, results, strict=True) if each.is_known}
    first: dict[str, str] = {}
    for probe, each in zip(probes, results, strict=True):
        if probe.server and probe.server not in known:
            cause = first.setdefault(probe.server, probe.subject)
            if cause != probe.subject:
                yield skipped(probe.subject, f"not known, for the reason of `{cause}`")
                continue
        yield from each.checks


def _run(number: int, probe: Probe, answers: queue.SimpleQueue[_Answer]) -> None:
    try:
        checks = tuple(probe.look())
        is_known = any(check.outcome != SKIPPED for check in checks)
        answers.put((number, _Result(checks, is_known=is_known)))
    except GitopsMlError as error:
        answers.put((number, _Result((failure(probe.subject, error),), is_known=False)))
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
