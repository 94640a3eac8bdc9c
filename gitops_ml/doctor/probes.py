"""Probes, their checks, and how probes run: side by side, each for a bounded time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gitops_ml.errors import GitopsMlError, Refused, UsageError

OK, FINDING, SKIPPED = "ok", "finding", "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact about a subject, and the remedy where it is a finding."""

    subject: str
    """Empty for that of its probe."""
    outcome: str
    """``ok``, ``finding`` or ``skipped``: not needed, or not to be seen from here."""
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What looks at one subject."""

    subject: str
    look: Callable[[], Iterable[Check]]
    server: str = ""
    """The server that it asks, where several probes ask the same one."""


def ok(text: str, *, about: str = "") -> Check:
    return Check(about, OK, text)


def finding(text: str, remedy: str, *, about: str = "") -> Check:
    return Check(about, FINDING, text, remedy)


def skipped(text: str, remedy: str = "", *, about: str = "") -> Check:
    return Check(about, SKIPPED, text, remedy)


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
    late = _Result((_late(seconds),), is_known=False)
    results = [found.get(number, late) for number in range(len(probes))]
    return tuple(_once_a_server(probes, results))


def _once_a_server(probes: Sequence[Probe], results: Sequence[_Result]) -> Iterator[Check]:
    """The checks with their subjects; a server of which nothing is known is one finding."""
    known = {probe.server for probe, each in zip(probes, results, strict=True) if each.is_known}
    first: dict[str, str] = {}
    for probe, each in zip(probes, results, strict=True):
        checks = each.checks
        if probe.server and probe.server not in known:
            cause = first.setdefault(probe.server, probe.subject)
            if cause != probe.subject:
                checks = (skipped(f"not known, for the reason of `{cause}`"),)
        yield from (replace(check, subject=check.subject or probe.subject) for check in checks)


def _run(number: int, probe: Probe, answers: queue.SimpleQueue[_Answer]) -> None:
    try:
        checks = tuple(probe.look())
        is_known = any(check.outcome != SKIPPED for check in checks)
        answers.put((number, _Result(checks, is_known=is_known)))
    except GitopsMlError as error:
        answers.put((number, _Result((_failure(error),), is_known=False)))
    except BaseException as error:  # noqa: BLE001 — raised again in the thread that waits
        answers.put((number, error))


def _failure(error: GitopsMlError) -> Check:
    """The finding for what could not be done; most messages end with their own remedy."""
    remedy = {
        UsageError: "correct what it names: a field of gitops-ml.yaml, or a setting of this machine",
        Refused: "log in with credentials that have this right",
    }.get(type(error), "check the address, the network (VPN, proxy) and the server's own log")
    return finding(str(error), remedy)


def _late(seconds: float) -> Check:
    return finding(
        f"no answer within {seconds:g} seconds",
        "check the network (VPN, proxy); for servers that are only slow, set --timeout to more seconds",
    )
