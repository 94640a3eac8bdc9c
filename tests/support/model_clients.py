"""Clients of models, as a predictor gets them, whose stores are listed only when a test asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from predictor_base.models import build_client
from predictor_base.settings import Settings

NEVER = 3600.0


def python_client(folder: Path, **models: Any) -> Any:
    """The client of a Python predictor; its files are in a folder below this one."""
    settings = Settings.from_document({"path": "p.py", "multiModelReloading": models})
    return build_client(settings, interval=NEVER, root=folder / "disk_cache")


def look_twice(client: Any) -> None:
    """List the stores until a change is adopted."""
    client._library.look_again()
    client._library.look_again()
