"""Lock the requirements of images that are built without Docker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitops_ml.delivery.images import image_request
from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.image.planner import ImagePlanner
from gitops_ml.packages.lock_file import Lock
from gitops_ml.packages.locking import LockFacts, Locks, lock_dependencies, read_lock, why_stale
from gitops_ml.packages.wheel_store import WheelStore
from gitops_ml.packages.wheels import Component
from gitops_ml.system.cache import cache_folder
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace, checked


@dataclass(frozen=True, slots=True)
class Locked:
    """One lock, and what changed in it."""

    apis: tuple[str, ...]
    path: Path
    lock: Lock | None
    """`None` where there is none that can be read."""
    changes: tuple[str, ...]
    """One line for each package: ``numpy 2.1.0 → 2.2.0``."""
    state: str
    """``written``, ``up to date``, or why it is not: ``is not there``, …"""

    @property
    def is_up_to_date(self) -> bool:
        return self.state in ("written", "up to date")


def lock(
    workspace: Workspace, *, clients: Clients, upgrade: bool = False, check: bool = False
) -> tuple[Locked, ...]:
    """Resolve requirements whose lock is missing or out of date; with ``check``, only report.

    Without ``upgrade``, versions stay as far as the requirements let them.

    Raises:
        GitopsMlError: no versions satisfy the requirements; the message names packages and ways out.
    """
    planner = _planner(workspace, clients)
    found: dict[Path, tuple[LockFacts, set[str]]] = {}
    for planned in workspace.releases:
        facts = planner.lock_facts(image_request(workspace, planned))
        if facts is not None:
            found.setdefault(facts.path, (facts, set()))[1].add(planned.name)
    return tuple(
        replace(_lock(facts, clients, upgrade=upgrade, check=check), apis=tuple(sorted(apis)))
        for facts, apis in found.values()
    )


def reasons_for_none(workspace: Workspace, *, clients: Clients) -> dict[str, str]:
    """Why APIs have no lock, by name."""
    planner = _planner(workspace, clients)
    found = {
        planned.name: planner.why_no_lock(image_request(workspace, planned))
        for planned in workspace.releases
    }
    return {name: reason for name, reason in sorted(found.items()) if reason}


def _planner(workspace: Workspace, clients: Clients) -> ImagePlanner:
    image = checked(workspace).project.image
    return ImagePlanner(image, registry=None, locks=Locks.KNOWN, progress=clients.progress)


def _at_hand(facts: LockFacts, lock: Lock | None) -> Mapping[str, Component]:
    """Metadata of wheels, so that they need not be fetched."""
    try:
        folder = cache_folder(os.environ) / "wheels"
    except UsageError:
        return {}
    store = WheelStore(folder, environ=os.environ)
    return store.at_hand(lock.packages if lock else (), project=facts.project)


def _lock(facts: LockFacts, clients: Clients, *, upgrade: bool, check: bool) -> Locked:
    try:
        before = read_lock(facts)
        reason = why_stale(facts, before, wheels=_at_hand(facts, before) if check else None)
    except InvalidDocument:
        if check:
            raise
        before, reason = None, "cannot be read"
    if check or not (reason or upgrade):
        return Locked((), facts.path, before, (), reason or "up to date")
    outcome = lock_dependencies(
        facts, environ=os.environ, upgrade=upgrade, progress=clients.progress
    )
    state = "written" if outcome.is_written else "up to date"
    return Locked((), facts.path, outcome.lock, outcome.changes, state)
