"""Log to stdout, one JSON object a line, with the deployment id and, where there is one, the request id."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

import orjson

if TYPE_CHECKING:
    from predictor_base.settings import Settings

request_id_of_task: ContextVar[str] = ContextVar("request_id", default="")
"""The request that the current task or thread works on; log lines carry it."""
trace_id_of_task: ContextVar[str] = ContextVar("trace_id", default="")

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
            "message": record.getMessage(),
            "deployment_id": self._deployment_id,
        }
        if request_id := request_id_of_task.get():
            line["request_id"] = request_id
        if trace_id := trace_id_of_task.get():
            line["trace_id"] = trace_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line.update((key, value) for key, value in vars(record).items() if key not in _OWN)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # a number over 64 bits, a text that is not UTF-8
            return json.dumps(line, default=str, skipkeys=True)


def configure(settings: Settings, stream: TextIO = sys.stdout) -> None:
    """Send all logging of this process to the stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(settings.deployment_id))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for name in ("uvicorn", "python_multipart"):  # a line for each wrong request of a client
        logging.getLogger(name).setLevel(logging.ERROR)
