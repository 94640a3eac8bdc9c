"""What is a portrait of things that belong to a process: places, contexts, loggers, queues, builtins."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import queue
from contextvars import Context, ContextVar
from pathlib import Path, PurePath
from typing import Any

from gitops_ml.capture.comparison.patched_libraries import origin_of_builtin
from gitops_ml.capture.comparison.portrait import Builtin, Found, Surroundings


def of_place(value: Any, place: Surroundings) -> Found:
    """Only a hash, as it may be a secret; of a path what it is to the folder of the class."""
    text = repr(value)
    if isinstance(value, str | PurePath) and PurePath(value).is_absolute():
        text = _as_seen_from(PurePath(value), place)
    return Found("place", hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _as_seen_from(path: PurePath, place: Surroundings) -> str:
    folders = [PurePath(each) for each in (place.folder, str(Path.cwd())) if each]
    if (
        place.is_package
        and PurePath(place.folder).is_relative_to(path)
        and str(path) != place.folder
    ):
        return "above a package, where nothing is"
    holding = [each for each in folders if path.is_relative_to(each)]
    if not holding:
        above = [each for each in folders if each.is_relative_to(path)]
        return f"{len(above[0].relative_to(path).parts)} above" if above else str(path)
    seen = path.relative_to(max(holding, key=lambda each: len(each.parts)))
    return str(seen.with_name("a module") if seen.suffix in (".py", ".ipynb") else seen)


def named_builtin(value: Builtin) -> str:
    origin = origin_of_builtin(value.name) if value.name else ""
    return f"{value.name} of {origin}" if origin else value.name


def context(value: Context, place: Surroundings) -> Found:
    """What a copied context has for the variables of the session; the others are of libraries."""
    held = [(each.name, value[each]) for each in value if place.names_of(each)]
    edges = [(("item", name), each) for name, each in sorted(held, key=lambda item: item[0])]
    return Found("context", edges=edges, has_identity=True)


def context_variable(value: ContextVar[Any], place: Surroundings) -> Found:
    held: Any = Builtin("")
    with contextlib.suppress(LookupError):  # neither a value nor a default
        held = value.get()
    return Found("context variable", value.name, [(("value", ""), held)])


def logger(value: logging.Logger, place: Surroundings) -> Found:
    text = f"{place.neutral(value.name)} {value.level} {value.propagate}"
    own = [each for each in (*value.filters, *value.handlers) if place.is_own(_module_of(each))]
    return Found("logger", text, [(("item", str(n)), each) for n, each in enumerate(own)])


def _module_of(value: Any) -> object:
    return getattr(value, "__module__", None) or type(value).__module__


def queued(value: queue.Queue[Any], place: Surroundings) -> Found:
    edges = [(("items", ""), list(value.queue))]
    return Found("queue", f"{type(value).__name__} {value.maxsize}", edges, has_identity=True)


def forward(value: Any, place: Surroundings) -> Found:
    return Found("value", f"ForwardRef {value.__forward_arg__}")


def cached_property(value: functools.cached_property[Any], place: Surroundings) -> Found:
    return Found("cached property", str(value.attrname), [(("function", ""), value.func)])
