"""The result of one check, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

OK, FINDING, SKIPPED = "ok", "finding", "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact about a subject, and the remedy where it is a finding."""

    subject: str
    outcome: str
    """``ok``, ``finding`` or ``skipped``: not needed, or not to be seen from here."""
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What looks at one subject; probes run side by side."""

    subject: str
    look: Callable[[], Iterable[Check]]
    server: str = ""
    """The server that it asks, where several probes ask the same one."""


def ok(subject: str, text: str) -> Check:
    return Check(subject, OK, text)


def finding(subject: str, text: str, remedy: str) -> Check:
    return Check(subject, FINDING, text, remedy)


def skipped(subject: str, text: str, remedy: str = "") -> Check:
    return Check(subject, SKIPPED, text, remedy)
