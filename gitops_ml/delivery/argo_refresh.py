"""Ask Argo CD to read Git now, not at its next poll; report once that this is not allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitops_ml.cluster.observed import Application
from gitops_ml.errors import Refused, ServerFailed
from gitops_ml.gitops.argo import root_name
from gitops_ml.workspace.clients import Clients

_AGAIN_AFTER = timedelta(seconds=15)
"""A refresh may have begun before the commit could be read; Argo CD takes seconds for one."""
_POLLS_WITHIN = timedelta(minutes=5)
"""Argo CD polls Git every three minutes, with up to a minute of jitter."""


@dataclass(slots=True)
class ArgoRefresh:
    """Refreshes of the Applications and ApplicationSets that a wait is about."""

    clients: Clients
    namespace: str
    """Argo CD's."""
    is_allowed: bool = True
    _asked: dict[str, datetime] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _began: datetime | None = None

    def ask(
        self, environment: str, application: Application | None, *, key: str, now: datetime
    ) -> None:
        """Ask for what is not synced yet; ``key`` names the commit that Argo CD should read."""
        self._began = self._began or now
        cluster, gitops = self.clients.argo_cd, self.clients.project.gitops
        if gitops is not None:  # the commit may have changed the ApplicationSet itself
            self._send(cluster.refresh_application, root_name(gitops), key=f"root {key}", now=now)
        name = f"gitops-ml-{environment}"
        self._send(cluster.refresh_application_set, name, key=f"set {name} {key}", now=now)
        if application is not None and not application.is_refreshing:
            again = f"{application.name} {key}"
            self._send(cluster.refresh_application, application.name, key=again, now=now)

    def is_done(self, application: Application | None, *, key: str, now: datetime) -> bool:
        """Whether Argo CD has compared the Application since an earlier look, or has polled since then.

        It removes the request when it has; the time of the comparison does not move with each error.
        """
        if not self.is_allowed:
            return self._began is not None and now - self._began >= _POLLS_WITHIN
        if application is None:
            return True
        name = f"{application.name} {key}"
        if (asked := self._asked.get(name)) and asked < now and not application.is_refreshing:
            self._done.add(name)
        return name in self._done

    def _send(
        self, request: Callable[[str, str], None], name: str, *, key: str, now: datetime
    ) -> None:
        asked = self._asked.get(key)
        if not self.is_allowed or (asked is not None and now - asked < _AGAIN_AFTER):
            return
        self._asked[key] = now
        try:
            request(self.namespace, name)
        except ServerFailed:
            return  # the next look asks again
        except Refused:
            self.is_allowed = False
            self.clients.progress(
                "Argo CD polls Git, which takes up to four minutes: these credentials may not ask it to "
                "refresh. The role gitops-ml-refresher in bootstrap/rights.yaml of the GitOps repository "
                "allows that"
            )
