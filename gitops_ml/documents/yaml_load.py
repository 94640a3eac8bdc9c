"""Read YAML that a program wrote (values, release.yaml, rendered objects), quickly.

YAML that people write goes through `yaml_reader`, which keeps places and bounds the cost.
"""

from __future__ import annotations

from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""A safe loader either way; the compiled one where PyYAML was built with it."""


def load_yaml(text: str | bytes) -> Any:
    """The data of one document."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def load_all_yaml(text: str | bytes) -> tuple[Any, ...]:
    """The data of every document that is not empty."""
    return tuple(item for item in yaml.load_all(text, Loader=_Loader) if item)
