"""What the releases of a change break, by the rules of the project before the change."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from gitops_ml.delivery.preview_lists import SHOWN
from gitops_ml.delivery.rules import problem_of, rules_of
from gitops_ml.errors import GitopsMlError
from gitops_ml.git.source_tree import SourceRepository, SourceTree
from gitops_ml.gitops.previews import secrets_warning
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.oci.reference import ImageRef
from gitops_ml.policy.base_rules import beyond_base, rule_changes, with_base_rules
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.organisation_rules import usage_of
from gitops_ml.policy.rule import Fleet, FleetRule, RuleFinding, Subject, Usage
from gitops_ml.policy.rule import Side as RuleSide
from gitops_ml.project.project import Project
from gitops_ml.review.read_states import ProjectOf, write_state
from gitops_ml.review.review import ReleaseReview, Review, Side
from gitops_ml.review.scope import scope_of
from gitops_ml.review.sides import StateReleases, workspace_in
from gitops_ml.system.project_files import standing_in
from gitops_ml.workspace.workspace import PlannedRelease

Place = tuple[str, str]
"""Environment and API."""


def with_findings(
    review: Review,
    after: StateReleases,
    *,
    trusted: ProjectOf,
    before: Project,
    now: datetime,
    usage: Mapping[Place, Usage],
) -> Review:
    """The review with what its releases break.

    ``trusted`` is the project that the change is merged into: a pull request cannot except itself.
    ``before`` is the one that the change began with; ``usage`` is that of all releases after it, where
    there are limits.
    """
    rules = trusted.project if trusted.file else after.project
    project = with_base_rules(after.project, rules)
    subjects = tuple(_subject(each, project, before, now) for each in review.releases)
    changed = {(each.environment, each.api) for each in review.releases}
    standing = tuple(each for place, each in usage.items() if place not in changed)
    fleet = Fleet(subjects, project, existing=review.counts, standing=standing)
    known_rules = rules_of(rules.checks)
    found = evaluate(fleet, known_rules, checks=rules.checks, today=now.date())
    found += tuple(f for each in subjects for f in beyond_base(each, rules))
    if trusted.file:
        changes = rule_changes(before, after.project)
        found += tuple(replace(each, file=trusted.file) for each in changes)
    manifests = {
        (planned.environment.name, planned.name): planned.manifest
        for planned in after.planned.values()
    }
    with standing_in(after.folder):
        several = {each.id for each in known_rules if isinstance(each, FleetRule)}
        found = tuple(
            _at_a_release(each, changed, manifests)
            if each.rule in several
            else _placed(each, manifests)
            for each in found
        )
    releases = tuple(replace(each, findings=_of(each, found)) for each in review.releases)
    known = {(each.environment, each.api) for each in review.releases}
    rest = tuple(each for each in found if (each.environment, each.api) not in known)
    return replace(review, releases=releases, findings=rest)


def _placed(finding: RuleFinding, manifests: Mapping[tuple[str, str], Manifest]) -> RuleFinding:
    """The finding with its file and line in the source repository."""
    manifest = manifests.get((finding.environment, finding.api))
    if manifest is not None and finding.file:
        # Files of rules are relative to the API's folder.
        return replace(finding, file=posixpath.join(manifest.directory, finding.file))
    if finding.file:
        return finding
    problem = problem_of(finding, manifests)
    return replace(finding, file=problem.file, line=problem.line)


def _at_a_release(
    finding: RuleFinding,
    changed: Iterable[Place],
    manifests: Mapping[tuple[str, str], Manifest],
) -> RuleFinding:
    """A finding about several releases, at the manifest of the first that changes and exists after it."""
    for environment, api in sorted(changed):
        if finding.environment in ("", environment) and (environment, api) in manifests:
            place = _placed(replace(finding, environment=environment, api=api), manifests)
            return replace(finding, file=place.file, line=place.line)
    return _placed(finding, manifests)


def _of(release: ReleaseReview, found: tuple[RuleFinding, ...]) -> tuple[RuleFinding, ...]:
    place = (release.environment, release.api)
    return tuple(each for each in found if (each.environment, each.api) == place)


def _subject(release: ReleaseReview, after: Project, before: Project, now: datetime) -> Subject:
    project = after if release.environment in after.environments else before
    return Subject(
        api=release.api,
        environment=project.environments[release.environment],
        action=release.action,
        before=_side(release.before),
        after=_side(release.after),
        project=project,
        now=now,
    )


def _side(side: Side | None) -> RuleSide | None:
    if side is None or side.spec is None:
        return None
    image = side.values.get("image") or {}
    return RuleSide(
        spec=side.spec,
        image=ImageRef(image["repository"], image.get("tag"), image.get("digest")),
        values=side.values,
        is_routed=(side.values.get("route") or {}).get("type", "none") != "none",
        objects=side.objects,
        openapi=side.openapi,
        sources=side.sources,
    )


def preview_warnings(releases: Iterable[ReleaseReview], project: Project) -> Iterator[str]:
    """A warning for each environment with previews; ``project`` is the one that the change is merged into."""
    specs = [each.after.spec for each in releases if each.after]
    for name, environment in project.environments.items():
        wanted = {
            spec.name: [(each.env, each.name, each.key) for each in spec.secrets]
            for spec in specs
            if spec and (spec.environment, spec.kind) == (name, SHOWN)
        }
        if environment.previews and (text := secrets_warning(environment.previews, name, wanted)):
            yield text


def usage_of_all(
    repository: SourceRepository, tree: SourceTree, *, start: str, folder: Path
) -> dict[Place, Usage]:
    """What each release of a state uses. It reads every manifest, and is for projects with limits."""
    scope = scope_of(tree.files, start)
    manifests = [path for paths in scope.manifests.values() for path in paths]
    place = folder / "all"
    write_state(repository, tree, scope, manifests, place)
    with standing_in(place):
        try:
            return usage_of_planned(workspace_in(place, scope, manifests).releases)
        except GitopsMlError:
            # What is wrong is reported with the releases that change.
            return {}


def usage_of_planned(releases: Iterable[PlannedRelease]) -> dict[Place, Usage]:
    """What each of these releases uses."""
    return {
        (each.environment.name, each.name): usage_of(each.spec, each.cluster) for each in releases
    }
