"""Check the releases of a change against the rules of the project, for each verb that changes releases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_ml.delivery.derive import parse_release
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.findings import Finding
from gitops_ml.errors import GitopsMlError, Problem, RulesBroken
from gitops_ml.gitops import layout
from gitops_ml.gitops.changed_releases import changed_releases
from gitops_ml.gitops.release_yaml import read_fields, read_release
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import Fleet, Side, Subject
from gitops_ml.release.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from gitops_ml.git.commits import Change
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.changed_releases import ReleaseChange
    from gitops_ml.manifest.manifest import Manifest
    from gitops_ml.policy.rule import RuleFinding
    from gitops_ml.project.project import Project
    from gitops_ml.workspace.workspace import PlannedRelease, Workspace

_NEVER_STOPPED = ("rollback",)
"""Verbs of an incident: what they break is reported, and stops nothing."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """The rules, for one verb of one workspace."""

    workspace: Workspace
    verb: str
    now: datetime

    def problems(self, changes: Iterable[Change], snapshot: GitSnapshot) -> tuple[Problem, ...]:
        """What the releases among the changes break; errors come first.

        Raises:
            RulesBroken: a rule of severity ``error`` is broken, and the verb can be stopped.
        """
        subjects, manifests = self._subjects(changes, RepositoryState.of(snapshot))
        if not subjects:
            return ()
        project = self.workspace.project
        fleet = Fleet(subjects, project)
        found = evaluate(fleet, BUILT_IN, checks=project.checks, today=self.now.date())
        problems = tuple(problem_of(each, manifests) for each in found)
        errors = tuple(each for each in problems if each.severity == "error")
        if errors and self.verb not in _NEVER_STOPPED:
            raise RulesBroken(problems)
        return problems

    def _subjects(
        self, changes: Iterable[Change], state: RepositoryState
    ) -> tuple[tuple[Subject, ...], Mapping[tuple[str, str], Manifest]]:
        planned = {each.directory: each for each in self.workspace.releases}
        project, subjects, manifests = self.workspace.project, [], {}
        for change in changed_releases(changes):
            if change.environment not in project.environments:
                continue
            new = planned.get(change.directory) if self.verb == "deploy" else None
            before, _ = _side(change, state, project, at=0)
            after, manifest = _side(change, state, project, at=1, planned=new)
            if manifest is not None:
                manifests[change.environment, change.api] = manifest
            subjects.append(
                Subject(
                    api=change.api,
                    environment=project.environments[change.environment],
                    action=change.action,
                    before=before,
                    after=after,
                    project=project,
                    now=self.now,
                    verb=self.verb,
                )
            )
        return tuple(subjects), manifests


def _side(
    change: ReleaseChange,
    state: RepositoryState,
    project: Project,
    *,
    at: int,
    planned: PlannedRelease | None = None,
) -> tuple[Side | None, Manifest | None]:
    """The release before (0) or after (1) the change; `None` where there is none, or it cannot be read."""
    if change.action == ("add", "delete")[at]:
        return None, None
    facts = change.facts[at] or state.release_yaml(change.directory)
    record = read_release(facts or b"")
    if record is None:
        return None, None
    path = f"{change.directory}/{layout.VALUES}"
    values = change.values[at] or state.read([path]).get(path)
    try:
        manifest = planned.manifest if planned else parse_release(record, record.manifest)[0]
        spec = planned.spec if planned else resolve(manifest, project, record.environment)
    except (GitopsMlError, KeyError):
        # A release of an older version, or of an environment that the project no longer has.
        return None, None
    return Side(
        spec=spec, image=record.image, values=read_fields(values), origin=record.provenance
    ), manifest


def rule_warnings(problems: Iterable[Problem]) -> tuple[str, ...]:
    """What a person is shown of the findings that stop nothing; notes are for reviewers."""
    return tuple(
        f"{replace(each, severity='error')} [{each.rule}]"
        for each in problems
        if each.severity != "note"
    )


def problem_of(finding: RuleFinding, manifests: Mapping[tuple[str, str], Manifest]) -> Problem:
    """The finding at its place in the manifest."""
    message = f"{finding.message}; {finding.remedy}" if finding.remedy else finding.message
    manifest = manifests.get((finding.environment, finding.api))
    if manifest is None or finding.file:
        return Problem(
            finding.file, finding.line, 0, finding.api, message, finding.rule, finding.severity
        )
    return manifest.problem(
        Finding(finding.path, message, finding.rule, finding.severity),
        environment=finding.environment,
    )
