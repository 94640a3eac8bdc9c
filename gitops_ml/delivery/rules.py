"""Check the releases of a change against the rules of the project, for each verb that changes releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gitops_ml.delivery.images import source_texts
from gitops_ml.delivery.openapi_documents import OpenapiDocuments
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.delivery.rule_set import rules_of
from gitops_ml.delivery.rule_subjects import SubjectReader
from gitops_ml.documents.findings import Finding
from gitops_ml.errors import Problem, RulesBroken, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.image.planner import PlannedImage
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import AnyRule, RuleFinding
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

_NEVER_STOPPED = ("rollback",)
"""Verbs of an incident: what they break is reported, and stops nothing."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """The rules, for one verb of one workspace."""

    workspace: Workspace
    clients: Clients
    verb: str
    images: Mapping[str, PlannedImage] = field(default_factory=dict)
    """Those that the verb builds, by the directories of their releases."""

    def problems(self, changes: Iterable[Change], snapshot: GitSnapshot) -> tuple[Problem, ...]:
        """What the releases among the changes break.

        Raises:
            RulesBroken: a rule of severity ``error`` is broken, and the verb can be stopped.
        """
        project = self.workspace.project
        planned = {each.directory: each for each in self.workspace.releases}
        rules = self._rules()
        reader = SubjectReader(
            project=project,
            verb=self.verb,
            now=self.clients.clock(),
            helm=self.clients.helm_at_hand,
            planned=planned if self.verb == "deploy" else {},
            sources=lambda directory: source_texts(self.images.get(directory)),
            memory=self.workspace.memory,
            needs_values=rules != BUILT_IN,
        )
        fleet = reader.fleet(changes, RepositoryState.of(snapshot))
        if not fleet.subjects:
            return ()
        fleet = self._documents.with_documents(fleet)
        found = evaluate(fleet, rules, checks=project.checks, today=reader.now.date())
        problems = tuple(problem_of(each, reader.manifests) for each in found)
        is_broken = any(each.severity == "error" for each in problems)
        if is_broken and self.verb not in _NEVER_STOPPED:
            raise RulesBroken(problems)
        return problems

    @property
    def _documents(self) -> OpenapiDocuments:
        return OpenapiDocuments(
            registry=self.clients.registry,
            memory=self.workspace.memory,
            warn=self.clients.warn,
            planned=self.images,
        )

    def _rules(self) -> tuple[AnyRule, ...]:
        try:
            return rules_of(self.workspace.project.checks)
        except UsageError as failure:
            if self.verb not in _NEVER_STOPPED:
                raise
            self.clients.warn(str(failure))
            return BUILT_IN


def rule_warnings(problems: Iterable[Problem]) -> tuple[str, ...]:
    """What a person is shown of the findings that stop nothing; notes are for reviewers."""
    return tuple(
        f"{replace(each, severity='error')} [{each.rule}]"
        for each in problems
        if each.severity != "note"
    )


def problem_of(finding: RuleFinding, manifests: Mapping[tuple[str, str], Manifest]) -> Problem:
    """The finding at its place: of the manifest by environment and API, or of another file."""
    message = f"{finding.message}; {finding.remedy}" if finding.remedy else finding.message
    manifest = manifests.get((finding.environment, finding.api))
    if manifest is None or finding.file:
        where = (finding.file, finding.line, 1 if finding.line else 0)
        subject = finding.api or finding.environment
        return Problem(*where, subject, message, finding.rule, finding.severity)
    path = Finding(finding.path, message, finding.rule, finding.severity)
    return manifest.problem(path, environment=finding.environment)
