"""Rules that a project writes in CEL: an expression that is true for a release that keeps the rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from gitops_ml.documents.cel import CannotEvaluate, compile_cel
from gitops_ml.documents.findings import Path
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.policy.rule import Breach, Rule, Side, Subject
from gitops_ml.project.checks import CelRule

_ACTION = re.compile(r"\baction\b")


def rule_of_cel(rule: CelRule) -> Rule:
    """The rule; its expression is compiled when it is first checked."""

    def check(subject: Subject) -> Iterator[Breach]:
        # What goes away need not keep rules about its fields.
        if subject.after is None and not _ACTION.search(rule.expression):
            return
        try:
            value = compile_cel(rule.expression)(_variables(subject))
        except CannotEvaluate as error:
            yield Breach(_path(rule.field), f"{rule.title}: it cannot be evaluated: {error}")
            return
        if value is not True:
            more = "" if value is False else f" (it gives {value}, neither true nor false)"
            yield Breach(_path(rule.field), f"{rule.title}{more}")

    return Rule(
        id=rule.id,
        title=rule.title,
        severity=rule.severity,
        reason=rule.reason,
        remedy=rule.remedy,
        check=check,
    )


def _path(field: str) -> Path:
    return tuple(field.split(".")) if field else ()


def _variables(subject: Subject) -> Mapping[str, Any]:
    side = subject.after or subject.before
    return {
        "release": _release(side),
        "before": _release(subject.before),
        "values": _plain(side.values if side else {}),
        "objects": _plain(tuple(side.objects) if side else ()),
        "action": subject.action,
        "verb": subject.verb,
        "environment": {
            "name": subject.environment.name,
            "cluster": subject.environment.cluster,
            "namespace": subject.environment.namespace,
            "protected": subject.environment.protected,
        },
    }


def _release(side: Side | None) -> Any:
    """The fields of a release as in the manifest, with amounts that can be compared."""
    if side is None:
        return None
    fields: Any = _plain(asdict(side.spec))
    compute = side.spec.compute
    fields["compute"]["cpu_cores"] = float(parse_quantity(compute.cpu))
    fields["compute"]["mem_bytes"] = int(parse_quantity(compute.mem))
    fields["image"] = str(side.image)
    return fields


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
