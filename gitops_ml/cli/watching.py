"""``--watch`` of commands that show what runs now."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

_EVERY = 2.0

watch_option = click.option(
    "-w", "--watch", is_flag=True, help="Refresh every two seconds until interrupted."
)


def looks(watch: bool, *, output: str) -> Iterator[None]:
    """One look, or one every two seconds on an empty screen.

    Raises:
        UsageError: JSON has no end then.
    """
    if watch and output == "json":
        raise click.UsageError(
            "--watch needs --output text; with --output json, call the command repeatedly"
        )
    yield
    while watch:
        time.sleep(_EVERY)
        click.clear()  # on terminals only
        yield
