"""Log to stdout, one JSON object a line, with the deployment id and, where there is one, the request id."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import orjson

from predictor_base.errors import shortened
from predictor_base.settings import Settings
from predictor_base.telemetry.log_output import own_stdout, print_whole_lines

request_id_of_task: ContextVar[str] = ContextVar("request_id", default="")
"""The request that the current task or thread works on; log lines carry it."""
trace_id_of_task: ContextVar[str] = ContextVar("trace_id", default="")

MAX_CHARACTERS = 65536
"""Of a message, and of a traceback: an exception may quote its payload."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Format a record as JSON, with its `extra` fields."""

    def __init__(self, deployment_id: str) -> None:
        super().__init__()
        self._deployment_id = deployment_id

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shortened(record.getMessage(), MAX_CHARACTERS),
            "deployment_id": self._deployment_id,
        }
        if request_id := request_id_of_task.get():
            line["request_id"] = request_id
        if trace_id := trace_id_of_task.get():
            line["trace_id"] = trace_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-MAX_CHARACTERS:]
        line.update((key, value) for key, value in vars(record).items() if key not in _OWN)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # a number over 64 bits, a text that is not UTF-8
            return json.dumps(line, default=str, skipkeys=True)

    def formatException(self, error: Any) -> str:
        try:
            return super().formatException(error)
        except BaseException:  # noqa: BLE001 - of a class or attributes of the predictor's
            frames = "".join(traceback.format_tb(error[2]))
            return f"{frames}{error[0].__name__}: it cannot be written"


class RuntimeLogger(logging.Logger):
    """The runtime's own logger: what a predictor does to logging, or closes, costs neither lines nor answers."""

    disabled = property(lambda _: False, lambda *_: None)

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.level

    def handle(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            super().handle(record)


def configure(settings: Settings) -> None:
    """Send all logging of this process to stdout."""
    print_whole_lines()
    level = settings.log_level.upper()
    handler = logging.StreamHandler(own_stdout() or sys.stdout)
    handler.setFormatter(JsonFormatter(settings.deployment_id))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    own = logging.getLogger("predictor_base")
    own.__class__, own.handlers, own.propagate = RuntimeLogger, [handler], False
    own.setLevel(level)
    for name in ("uvicorn", "python_multipart"):  # a line for each wrong request of a client
        logging.getLogger(name).setLevel(logging.ERROR)
