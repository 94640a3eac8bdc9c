"""A refresh: the same deployment rolled out anew, under an id of its own.

The pods carry the id as a label, so another id is another rollout. ``release.yaml`` remembers which
deployment was refreshed and how often: while that is what would be deployed, a later `deploy` keeps
the refreshed id, and neither undoes the refresh nor rolls out once more. Anything else that is deployed
starts without it.
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
"""Stands in every ``release.yaml`` with a refresh: a look before a parse."""
_BLOCK = re.compile(r"^refresh:\n(?:  .*\n)+", re.M)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The deployment id of a refresh, in the place of another."""

    api: str
    of: str
    number: int

    @property
    def deployment_id(self) -> str:
        return deployment_id(self.api, {"of": self.of, "refresh": self.number})

    def values(self, text: str, *, before: str) -> str:
        """``values.yaml`` with this id in the place of the id ``before``; nothing else changes."""
        return text.replace(
            f"\n  deploymentId: {before}\n", f"\n  deploymentId: {self.deployment_id}\n", 1
        )

    def facts(self, text: str, *, before: str) -> str:
        """``release.yaml`` in the same way, with the record of the refresh."""
        record = f"refresh:\n  of: {self.of}\n  number: {self.number}\n"
        # The API's own words are indented, so that nothing of them stands at the start of a line.
        return _BLOCK.sub("", text, count=1).replace(
            f"\ndeployment_id: {before}\n", f"\ndeployment_id: {self.deployment_id}\n{record}", 1
        )


def next_refresh(release: ReleaseRecord) -> Refreshed:
    """The refresh after those that the release has had."""
    if release.refresh is None:
        return Refreshed(release.api, release.deployment_id, 1)
    return Refreshed(release.api, release.refresh.of, release.refresh.number + 1)


def carried_over(text: ReleaseText, api: str, refresh: Refresh | None) -> ReleaseText:
    """``text`` with the refresh that stands there, if it is one of this very deployment."""
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
