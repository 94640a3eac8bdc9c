"""The rules that hold for a project: built-in ones, those of installed packages, and its own in CEL.

A package adds rules by an entry point of the group `gitops_ml.rules`: a `Rule`, several, or a function that
returns them. Only packages that are installed count, never code of a checkout: a pull request brings none.
"""

from __future__ import annotations

import importlib.util
import site
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gitops_ml.documents.cel import NoLibrary, compile_cel
from gitops_ml.errors import UsageError
from gitops_ml.policy.built_in import BUILT_IN
from gitops_ml.policy.cel_rules import rule_of_cel
from gitops_ml.policy.rule import AnyRule, FleetRule, Rule
from gitops_ml.project.checks import Checks

GROUP = "gitops_ml.rules"


def rules_of(checks: Checks) -> tuple[AnyRule, ...]:
    """Every rule; ids are unique.

    Raises:
        UsageError: a package with rules cannot be used, or CEL is not installed.
    """
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
    """The rules of installed packages, by the names of their entry points.

    Raises:
        UsageError: a package is not really installed, or what it brings is not a rule.
    """
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
