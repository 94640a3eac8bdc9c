"""Answers that `functools.cache` keeps, where what they were made of changed since."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from gitops_ml.capture.statements import Source, Statement


def outdated_reasons(
    names: Iterable[str], namespace: Mapping[str, Any], source: Source
) -> Iterator[str]:
    """Why functions among ``names`` may answer otherwise than they would now, and what to do.

    A package has no kept answers. Those of the session are the same, unless something that the function
    uses was bound or changed after its definition.
    """
    for name in sorted(names):
        made = source.binding(name)
        for path in _with_answers(name, namespace.get(name)) if made else ():
            if changed := _changed_since(name, made[-1], source):
                yield (
                    f"{path} keeps answers from before {changed} changed, which a package does not have: "
                    f"run {path}.cache_clear()"
                )


def _with_answers(name: str, value: Any) -> Iterator[str]:
    """The functions with kept answers: the value itself, and methods of a class."""
    parts = [(name, value)]
    if issubclass(type(value), type):
        parts = [(f"{name}.{each}", part) for each, part in vars(value).items()]
    for path, part in parts:
        function = part.__func__ if type(part) in (staticmethod, classmethod) else part
        # What asks for `isinstance` asks the object, too, and it may raise.
        if type(function) is functools._lru_cache_wrapper and function.cache_info().currsize:
            yield path


def _changed_since(name: str, made: Statement, source: Source) -> str | None:
    """The first name that a definition uses, directly or through others, and that changed after it."""
    queue, seen = [name], {name}
    while queue:
        each = queue.pop(0)
        bindings = source.binding(each)
        rebound = (two for one, two in pairwise(bindings) if not one.same_as(two))
        # `f().append(1)` changes an answer of `f`, not what it makes
        can_change = each != name or isinstance(made.node, ast.ClassDef)
        touched = (one for one in source.statements if can_change and each in one.touches)
        if any(one.position > made.position for one in (*rebound, *touched)):
            return each
        used = {used for one in bindings[-1:] for used in (*one.now, *one.later)} - seen
        seen |= used
        queue += sorted(used)
    return None
