"""What editors and formatters make of a YAML file: another text with the same content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

EDITS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "one CRLF": lambda text: text.replace("\n", "\r\n", 3),
    "a byte order mark": lambda text: f"\ufeff{text}",
    "a document mark": lambda text: f"---\n{text}",
    "a comment": lambda text: f"# by ann\n{text}",
    "sorted keys": lambda text: yaml.safe_dump(yaml.safe_load(text)),
    "quotes": lambda text: yaml.safe_dump(yaml.safe_load(text), default_style="'", sort_keys=False),
    "flow style": lambda text: yaml.safe_dump(
        yaml.safe_load(text), default_flow_style=True, sort_keys=False
    ),
    "four spaces": lambda text: yaml.safe_dump(yaml.safe_load(text), indent=4, sort_keys=False),
    "JSON": lambda text: json.dumps(yaml.safe_load(text), indent=2),
}
