"""The list of releases that a preview shows, in the pull request that changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gitops_ml.delivery.push import MakePlan, Plan
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import changes_by_release
from gitops_ml.gitops.previews import preview_list, secrets_warning
from gitops_ml.gitops.release_yaml import chart_of, read_fields
from gitops_ml.project.project import Project

SHOWN = "RealtimeAPI"
"""The kind that previews show. Others read queues and topics, and would take the work of the environment."""


def with_preview_lists(make_plan: MakePlan[Plan], project: Project, *, head: str) -> MakePlan[Plan]:
    """The plan with a list for each environment that has previews; ``head`` is the branch proposed."""
    places = {
        name: place.previews for name, place in project.environments.items() if place.previews
    }

    def plan_of(snapshot: GitSnapshot) -> Plan:
        plan = make_plan(snapshot)
        if not plan.changes:
            return plan
        changes, warnings = list(plan.changes), list(plan.warnings)
        for environment, previews in places.items():
            shown, most = _shown(plan.changes, environment, snapshot), previews.quota.pods
            if len(shown) > most:
                warnings.append(
                    f"a preview of this pull request shows {most} of its {len(shown)} releases in "
                    f"{environment}: environments.{environment}.previews.quota.pods is the limit"
                )
            wanted = _secrets(shown[:most], environment, plan.changes, snapshot)
            if warning := secrets_warning(previews, environment, wanted):
                warnings.append(warning)
            path = layout.preview_list_path(environment, head)
            changes += _file(snapshot, path, preview_list(shown[:most]) if shown else None)
        changes.sort(key=lambda change: change.path)
        return replace(plan, changes=tuple(changes), warnings=tuple(warnings))

    return plan_of if places else make_plan


def _shown(
    changes: Iterable[Change], environment: str, snapshot: GitSnapshot
) -> list[tuple[str, str]]:
    """The changed releases that answer requests, with their charts, sorted by name."""
    found = []
    for (place, api), named in changes_by_release(changes).items():
        if place != environment:
            continue
        facts, values = _after(place, api, named, snapshot)
        kind = values.get("api")
        if (chart := chart_of(facts)) and isinstance(kind, dict) and kind.get("kind") == SHOWN:
            found.append((api, chart))
    return sorted(found)


def _after(
    environment: str, api: str, named: Mapping[str, Change], snapshot: GitSnapshot
) -> tuple[bytes | None, Mapping[str, Any]]:
    """The ``release.yaml`` and the values of a release after its changes."""
    directory = layout.release_directory(environment, api)
    paths = [f"{directory}/{name}" for name in (layout.RELEASE, layout.VALUES)]
    after = {each.path: each.after for each in named.values()}
    facts, values = ({**snapshot.read(paths), **after}.get(path) for path in paths)
    return facts, read_fields(values)


def _secrets(
    shown: Iterable[tuple[str, str]],
    environment: str,
    changes: Iterable[Change],
    snapshot: GitSnapshot,
) -> dict[str, list[tuple[str, str, str]]]:
    """The variable, the Secret and the key of each secret that the releases of a list read, by API."""
    named = changes_by_release(changes)
    found = {}
    for api, _ in shown:
        _, values = _after(environment, api, named[environment, api], snapshot)
        each = values.get("secretEnv") or ()
        found[api] = [(str(s.get("env")), str(s.get("name")), str(s.get("key"))) for s in each]
    return found


def _file(snapshot: GitSnapshot, path: str, content: bytes | None) -> tuple[Change, ...]:
    """None where the branch has it already, of an earlier pull request."""
    before = snapshot.read([path]).get(path)
    return () if before == content else (Change(path, before, content),)
