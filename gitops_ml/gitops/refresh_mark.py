"""A refresh: the same deployment rolled out again, with another deployment id.

The id is a label of the pods, so another id causes a rollout. ``release.yaml`` records the refreshed
deployment and the number of refreshes. A later `deploy` of the same deployment keeps the refreshed id,
so that it neither reverts the refresh nor rolls out again. Any other deployment starts without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.gitops.deployment_id import deployment_id
from gitops_ml.gitops.release_files import ReleaseText

if TYPE_CHECKING:
    from gitops_ml.gitops.release_yaml import Refresh, ReleaseRecord

REFRESH = b"\nrefresh:\n"
"""In every ``release.yaml`` with a refresh; found faster than by a parse."""
_BLOCK = re.compile(r"^refresh:\n(?:  .*\n)+", re.M)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A refresh of a deployment, with the deployment id that replaces another one."""

    api: str
    of: str
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


def next_refresh(release: ReleaseRecord) -> Refreshed:
    """The next refresh of the release."""
    if release.refresh is None:
        return Refreshed(release.api, release.deployment_id, 1)
    return Refreshed(release.api, release.refresh.of, release.refresh.number + 1)


def carried_over(text: ReleaseText, api: str, refresh: Refresh | None) -> ReleaseText:
    """``text`` with the refresh of the current release, if it refreshed the same deployment."""
    if refresh is None or refresh.of != text.deployment_id:
        return text
    refreshed = Refreshed(api, refresh.of, refresh.number)
    before, after = f'"deploymentId": "{refresh.of}"', refreshed.deployment_id
    return ReleaseText(
        deployment_id=after,
        values=refreshed.values(text.values, before=refresh.of),
        facts=refreshed.facts(text.facts, before=refresh.of),
        data=text.data.replace(before, f'"deploymentId": "{after}"', 1),
    )
