"""Check the releases of a change against the rules of the project, for each verb that changes releases.

Rules are built-in, of installed packages, and of the project in CEL. A package adds rules by an entry point of the
group `gitops_ml.rules`: a `Rule`, several, or a function that returns them. Only packages that are installed count,
never code of a checkout: a pull request brings none.
"""

from __future__ import annotations

import importlib.util
import site
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gitops_ml.delivery.images import source_texts
from gitops_ml.delivery.openapi_documents import OpenapiDocuments
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.delivery.rule_subjects import SubjectReader
from gitops_ml.documents.cel import NoLibrary, compile_cel
from gitops_ml.documents.findings import Finding
from gitops_ml.errors import Problem, RulesBroken, UsageError
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.image.planner import PlannedImage
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.cel_rules import rule_of_cel
from gitops_ml.policy.evaluate import evaluate
from gitops_ml.policy.rule import AnyRule, FleetRule, Rule, RuleFinding
from gitops_ml.project.checks import Checks
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import Workspace

GROUP = "gitops_ml.rules"
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
        """What the releases among the changes break."""
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


# -- the rules that hold for a project --------------------------------------------------------------


def rules_of(checks: Checks) -> tuple[AnyRule, ...]:
    """Every rule; ids are unique."""
    own = tuple(rule_of_cel(rule) for rule in checks.rules)
    if own:
        _refuse_without_library(checks)
    rules = (*BUILT_IN, *installed_rules(), *own)
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise UsageError(f"two rules have the id {rule.id!r}: rename the one that is not ours")
        seen.add(rule.id)
    return rules


def _refuse_without_library(checks: Checks) -> None:
    for rule in checks.rules:
        try:
            compile_cel(rule.expression)
        except NoLibrary:
            raise UsageError(
                f"the project file has rules in CEL ({rule.id}), which need a library: "
                "pip install 'gitops-ml[cel]'"
            ) from None
        except ValueError as error:
            raise UsageError(f"checks.rules: {rule.id}: {error}") from error


@cache
def installed_rules() -> tuple[AnyRule, ...]:
    """The rules of installed packages, by the names of their entry points."""
    found = {
        (entry.name, entry.value): entry
        for package in metadata.distributions(path=_package_folders())
        for entry in package.entry_points
        if entry.group == GROUP
    }
    return tuple(rule for _, entry in sorted(found.items()) for rule in _loaded(entry))


def _package_folders() -> list[str]:
    names = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        names.append(site.getusersitepackages())
    return list(dict.fromkeys(names))


def _loaded(entry: metadata.EntryPoint) -> Iterable[AnyRule]:
    name = f"the entry point {entry.name!r} ({entry.value}) of {GROUP}"
    # The search runs no code of the package; a checkout in front of it on the path is refused.
    spec = importlib.util.find_spec(entry.module.partition(".")[0])
    origin = Path(spec.origin).resolve() if spec and spec.origin else None
    folders = [Path(folder).resolve() for folder in _package_folders()]
    if origin is None or not any(folder in origin.parents for folder in folders):
        raise UsageError(f"{name} is in no installed package: install it without --editable")
    try:
        rules = _as_rules(entry.load())
    except Exception as error:
        raise UsageError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not all(isinstance(rule, Rule | FleetRule) for rule in rules):
        raise UsageError(f"{name} is neither a rule nor a list of rules")
    return rules


def _as_rules(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Rule | FleetRule):
        return (value,)
    if callable(value):
        return _as_rules(value())
    return tuple(value)
