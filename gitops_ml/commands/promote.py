"""Promote releases to the next environment: the image's digest is copied, nothing is built."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice

from gitops_ml.delivery.change import (
    ChangeContext,
    ChangePlan,
    ChangeResult,
    ReleaseChange,
    change,
    changed_values,
    values_without,
)
from gitops_ml.delivery.derive import DerivedRelease, Origin, derive_release, derived_changes
from gitops_ml.delivery.release_changes import ReleaseChanges
from gitops_ml.delivery.releases import Selection, selected, topic_of, values_of
from gitops_ml.documents.markdown import block, code
from gitops_ml.errors import InvalidDocument, Problem, UsageError
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.commit_message import names_in_short
from gitops_ml.gitops.differences import field_changes
from gitops_ml.gitops.pull_request_body import field_lines
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_release
from gitops_ml.project.project import Project
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import chosen_environments

_MOST_LINES = 40
"""Of the text that a reviewer reads before the changes themselves."""


def promote(
    context: ChangeContext,
    selection: Selection,
    *,
    source: str | None = None,
    target: str | None = None,
    may_skip: bool = False,
) -> ChangeResult:
    """Release manifest and image of ``source`` in ``target``, by the overrides and rules of ``target``.

    Manifest and digest come from the GitOps repository, not from the work tree: what was tested is
    what is promoted. ``source`` is by default the environment before ``target`` in the project file,
    ``target`` the one after ``source``.

    Raises:
        UsageError: an environment or an API does not exist, an image would have to be built, or a
            protected environment would be reached past one that comes before it.
        InvalidDocument: a manifest breaks a rule in the target.
    """
    source, target = route(context.project, source, target)
    skipped = _skipped(context.project, source, target, may_skip=may_skip)
    plan = partial(_plan, context, selection, source, target, skipped)
    topic = topic_of(selection, context.project.name)
    return change(context, plan, action="promote", environment=target, topic=topic)


def _plan(
    context: ChangeContext,
    selection: Selection,
    source: str,
    target: str,
    skipped: tuple[str, ...],
    snapshot: GitSnapshot,
) -> ChangePlan:
    project, clients = context.project, context.clients
    releases = selected(snapshot, selection, environment=source, project=project.name)
    derived = _derived(releases, project, target, clients)
    changed = derived_changes(derived, snapshot, context.workspace, clients)
    changes = _release_changes(snapshot, derived, changed)
    return ChangePlan(
        releases=changes,
        unchanged=_unchanged(changed, changes),
        changes=changed.changes,
        subject=f"Promote {names_in_short(each.api for each in changes)} from {source} to {target}",
        why=_why(changes, source, target),
        warnings=(*skipped, *_chart_warnings(derived), *changed.warnings),
    )


def _unchanged(
    changed: ReleaseChanges, touched: Iterable[ReleaseChange]
) -> tuple[ReleaseChange, ...]:
    """Chosen releases that the target has already."""
    directories = {each.directory for each in touched}
    return tuple(
        ReleaseChange(
            api=each.name,
            environment=each.environment,
            before=each.deployment_id,
            after=each.deployment_id,
            image=each.image,
        )
        for each in changed.releases
        if each.directory not in directories
    )


def _why(releases: Iterable[ReleaseChange], source: str, target: str) -> str:
    """What a reviewer cannot see in the changes: the source, and how the target differs from it."""
    lines = [
        f"Image and manifest are those of the current release in {code(source)}; nothing is built."
    ]
    for release in releases:
        if release.differs:
            lines.append(f"{code(release.api)} in {code(target)} differs from {code(source)}:")
            fields = (line for each in release.differs for line in field_lines(each))
            lines.append(block("\n".join(islice(fields, _MOST_LINES)), "diff"))
    return "\n\n".join(lines[:_MOST_LINES])


def route(project: Project, source: str | None, target: str | None) -> tuple[str, str]:
    """Source and target; what is missing follows from the project's order of environments."""
    order = list(project.environments)
    chosen_environments(project, tuple(name for name in (source, target) if name is not None))
    if source is None and target is None and len(order) == 2:
        source, target = order
    elif source is None and target is not None and (at := order.index(target)):
        source = order[at - 1]
    elif target is None and source is not None and (at := order.index(source)) + 1 < len(order):
        target = order[at + 1]
    if source is None or target is None:
        raise UsageError(
            "source and target are not clear: set --from and --to; the project file's order is "
            f"{', '.join(order)}"
        )
    if source == target:
        raise UsageError(f"source and target are both {source}")
    return source, target


def _skipped(project: Project, source: str, target: str, *, may_skip: bool) -> tuple[str, ...]:
    """Warnings where ``target`` is not the next environment in the project's order."""
    order = list(project.environments)
    start, end = order.index(source), order.index(target)
    if end < start:
        return (f"{target} comes before {source} in the project file: this promotes backwards",)
    if not (between := order[start + 1 : end]):
        return ()
    names = ", ".join(between)
    if project.environments[target].protected and not may_skip:
        raise UsageError(
            f"{target} is protected, and {names} comes before it: promote there first, or use "
            "--skip"
        )
    return (f"{names} is skipped on the way from {source} to {target}",)


def _derived(
    releases: Iterable[ReleaseRecord], project: Project, target: str, clients: Clients
) -> list[DerivedRelease]:
    """All of them; the problems of several manifests are reported together."""
    made: list[DerivedRelease] = []
    problems: list[Problem] = []
    for release in releases:
        try:
            origin = Origin(release=release, by="promote")
            made.append(derive_release(origin, project, target, clients=clients))
        except InvalidDocument as error:
            problems += error.problems
    if problems:
        raise InvalidDocument(problems)
    return made


def _release_changes(
    snapshot: GitSnapshot, derived: Iterable[DerivedRelease], changed: ReleaseChanges
) -> tuple[ReleaseChange, ...]:
    touched = {change.path.rpartition("/")[0] for change in changed.changes}
    pairs = [
        (item.origin.release, release)
        for item, release in zip(derived, changed.releases, strict=True)
        if release.directory in touched
    ]
    directories = [d for origin, release in pairs for d in (origin.directory, release.directory)]
    values = values_of(snapshot, directories)
    facts = snapshot.read(f"{release.directory}/{layout.RELEASE}" for _, release in pairs)
    return tuple(
        _release_change(
            release,
            before=read_release(facts.get(f"{release.directory}/{layout.RELEASE}", b"")),
            values=values.get(release.directory, {}),
            source=values.get(origin.directory, {}),
        )
        for origin, release in pairs
    )


def _release_change(
    release: Release,
    *,
    before: ReleaseRecord | None,
    values: Mapping[str, object],
    source: Mapping[str, object],
) -> ReleaseChange:
    now = json.loads(release.text.data)
    return ReleaseChange(
        api=release.name,
        environment=release.environment,
        before=before.deployment_id if before else None,
        after=release.deployment_id,
        image=release.image,
        fields=changed_values(values, now),
        differs=field_changes(_own(source), _own(now)),
    )


def _own(values: Mapping[str, object]) -> Mapping[str, object]:
    """What may differ between environments: all but the image and the environment's name."""
    rest = values_without(values, "environment")
    return {key: value for key, value in rest.items() if key != "image"}


def _chart_warnings(made: Iterable[DerivedRelease]) -> tuple[str, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for item in made:
        old, new = item.origin.release.chart_version, item.release.chart.version
        if old != new:
            found.setdefault((old, new), []).append(item.release.name)
    return tuple(
        f"{names_in_short(apis)}: tested with the base chart {old}, and this version of gitops-ml "
        f"has {new}; deploy to test it there first"
        for (old, new), apis in sorted(found.items())
    )
