"""The argument FILE|-: what a person gives as a file or through a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from gitops_ml.errors import UsageError
from gitops_ml.system.named_files import LARGEST_DATA, read_named


class NamedBytes(NamedTuple):
    """What a person gave as FILE or -."""

    name: str
    content: bytes


class FileOrInput(click.ParamType):  # type: ignore[type-arg]  # older clicks take no arguments
    """A regular file of limited size, or - for the standard input."""

    name = "file"

    def __init__(self, limit: int = LARGEST_DATA) -> None:
        self._limit = limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, NamedBytes):
            return value
        if value != "-":
            return NamedBytes(str(value), read_named(Path(value), limit=self._limit))
        content = sys.stdin.buffer.read(self._limit + 1)
        if len(content) > self._limit:
            raise UsageError(f"the standard input has more than {self._limit:,} bytes")
        return NamedBytes("the standard input", content)
