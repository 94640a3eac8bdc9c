"""The deployment id: one name for one state of one release, sent with every prediction."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def deployment_id(api: str, release: Mapping[str, Any]) -> str:
    """``<api>-<12 hex>`` over the canonical release.

    ``release`` holds only what reaches the cluster: the values (the resolved spec and the image's
    digest), the chart with its version, and the destination. Equal releases have equal ids on every
    machine; a release that differs in a byte has another id.
    """
    canonical = json.dumps(release, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{api}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
