"""The log of the runtime for people: its JSON lines as text, tracebacks without the runtime's frames."""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import Any

_FRAME = re.compile(r'^  File "(?P<file>.+?)", line \d+', re.MULTILINE)
_RUNTIME = "predictor_base"


def readable_log(text: str) -> str:
    """``text`` with each JSON line of the runtime as time, level and message, and its traceback below.

    >>> readable_log('{"time":"2026-11-29T20:52:42.172Z","level":"info","message":"ready"}')
    '20:52:42 info ready\\n'
    """
    return "".join(f"{_readable(line)}\n" for line in text.splitlines())


def failure_in(text: str, *, request_id: str | None = None) -> str:
    """The last traceback in a log, or the one of a request; empty where there is none."""
    found = ""
    for line in text.splitlines():
        facts = _facts(line)
        if request_id is None or facts.get("request_id") == request_id:
            found = _own_frames(str(facts.get("traceback") or "")) or found
    return found


def _readable(line: str) -> str:
    facts = _facts(line)
    if not facts:
        return line
    moment = str(facts.get("time", "")).partition("T")[2].partition(".")[0]
    head = " ".join(filter(None, (moment, str(facts.get("level", "")), str(facts["message"]))))
    traceback = _own_frames(str(facts.get("traceback") or ""))
    return f"{head}\n{traceback}" if traceback else head


def _facts(line: str) -> dict[str, Any]:
    """The fields of a line that the runtime wrote; empty for any other line."""
    try:
        found = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "message" in found and "level" in found else {}


def _own_frames(traceback: str) -> str:
    """A traceback without the frames of the runtime that come before the predictor's."""
    frames = [*_FRAME.finditer(traceback)]
    own = [frame for frame in frames if _RUNTIME not in PurePath(frame["file"]).parts]
    if not own or own[0] is frames[0]:
        return traceback
    return traceback[: frames[0].start()] + traceback[own[0].start() :]
