"""The deployment id: one name for the pods of one release, sent with every prediction.

A refresh rolls out the same deployment again: the id is a label of the pods, so another id causes a
rollout. ``release.yaml`` records the refreshed deployment and the number of refreshes. A later `deploy`
of the same deployment keeps the refreshed id, so that it neither reverts the refresh nor rolls out
again. Any other deployment starts without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BLOCK = re.compile(r"^refresh:\n(?:  .*\n)+", re.M)


def deployment_id(api: str, pods: Mapping[str, Any]) -> str:
    """``<api>-<12 hex>`` over the canonical form of what decides the pods.

    ``pods`` holds the part of the values that reaches the pods (`pod_part`), which has the image's digest,
    and the version of the chart's pod template. Equal pods have equal ids on every machine. What leaves
    the pods alone (scaling, routes, labels of people, the namespace) leaves the id alone.
    """
    canonical = json.dumps(pods, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{api}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh of a deployment, with the deployment id that replaces another one."""

    api: str
    of: str
    """The deployment id without any refresh."""
    number: int

    @property
    def deployment_id(self) -> str:
        return deployment_id(self.api, {"of": self.of, "refresh": self.number})

    def values(self, text: str, *, before: str) -> str:
        """``values.yaml`` with the id ``before`` replaced by this one; nothing else changes."""
        return text.replace(
            f"\n  deploymentId: {before}\n", f"\n  deploymentId: {self.deployment_id}\n", 1
        )

    def facts(self, text: str, *, before: str) -> str:
        """``release.yaml`` with the id replaced and the refresh recorded."""
        record = f"refresh:\n  of: {self.of}\n  number: {self.number}\n"
        # The manifest of the API is indented, so that none of its lines matches.
        return _BLOCK.sub("", text, count=1).replace(
            f"\ndeployment_id: {before}\n", f"\ndeployment_id: {self.deployment_id}\n{record}", 1
        )
