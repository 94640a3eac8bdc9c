"""What is a portrait of things of a process: those in the middle of something, and those that belong to it.

Of locks, threads, iterators, files and digests pickle keeps nothing, and the statement that made one makes it from its
beginning. Their state is compared where it can be read; what is in use and cannot be read is another one in each
process.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import inspect
import io
import itertools
import logging
import queue
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from pathlib import Path, PurePath
from typing import Any

from gitops_ml.capture.comparison.code_digest import code_digest
from gitops_ml.capture.comparison.portrait import Builtin, Edges, Found, Surroundings
from gitops_ml.capture.comparison.process_state import origin_of_builtin

ANOTHER = "another one"
"""What a package has in place of something in use."""
_LARGEST = 1 << 26
"""Bytes of a memory that is compared."""
_MOST = 1 << 40
"""Larger whole numbers are addresses."""
_SCALARS = (type(None), bool, int, float, str, bytes)
_ATTRIBUTES = (types.GetSetDescriptorType, types.MemberDescriptorType)
_OF_A_PROCESS = frozenset({"ident", "native_id", "pid", "fileno", "handle"})


class _InUse(Exception):
    """It is in use, and its state cannot be read."""


def live(value: Any, place: Surroundings) -> Found | None:
    """What a thing with a state is that pickle does not keep; `None` for all others."""
    state = state_of(value, place)
    if state is None:
        return None
    return Found("live", state if state == ANOTHER else _named(value, state), has_identity=True)


def state_of(value: Any, place: Surroundings) -> str | None:
    """The state alone, also of an object of the user's own class; `None` for what has none."""
    try:
        return _state(value)
    except _InUse:
        return ANOTHER if place.is_package else "in use"
    except Exception:  # noqa: BLE001 - a closed or broken one
        return "closed"


def _named(value: Any, state: str) -> str:
    kind = type(value)
    name = f"{kind.__module__.lstrip('_')} {kind.__qualname__.lstrip('_')}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} ({state})"


def _state(value: Any) -> str | None:
    for kinds, read in _STATES:
        if isinstance(value, kinds):
            return read(value)
    kind = type(value)
    if any(each.__module__ == "_ctypes" for each in kind.__mro__):
        return _c_value(value)
    by_name = _BY_NAME.get((kind.__module__, kind.__name__))
    return by_name(value) if by_name else None


def generator(value: Any, place: Surroundings) -> Found:
    """A generator or coroutine: before its first step what it begins with, later in use."""
    is_coroutine = isinstance(value, types.CoroutineType)
    code, frame = (
        (value.cr_code, value.cr_frame) if is_coroutine else (value.gi_code, value.gi_frame)
    )
    state = (inspect.getcoroutinestate if is_coroutine else inspect.getgeneratorstate)(value)
    if not state.endswith(("_CREATED", "_CLOSED")):
        in_use = f"the generator {value.__name__} in use"
        return Found("live", ANOTHER if place.is_package else in_use, has_identity=True)
    held = sorted(frame.f_locals.items()) if frame is not None else ()
    edges = [(("closure", name), each) for name, each in held]
    text = f"{value.__name__} {code_digest(code) if frame is not None else 'ended'}"
    return Found("generator", text, edges, has_identity=True)


def plain_attributes(value: Any) -> Edges:
    """The plain values that an object of C shows as attributes, such as those of a TLS context."""
    for kind in type(value).__mro__:
        for name, each in sorted(vars(kind).items()):
            if not isinstance(each, _ATTRIBUTES) or name[:2] == "__" or name in _OF_A_PROCESS:
                continue
            try:
                held = each.__get__(value)
            except Exception:  # noqa: BLE001, S112 - not while it is closed
                continue
            if type(held) in _SCALARS and not (type(held) is int and held > _MOST):
                yield (("shows", name), held)


def _iterator(value: Any) -> str:
    line = getattr(value, "line_num", None)  # of a reader of csv
    if line is None:
        raise _InUse
    return f"at line {line}"


def _file(value: Any) -> str:
    streams = [getattr(sys, name) for name in ("stdin", "stdout", "stderr")]
    if any(value is each or value is getattr(each, "buffer", None) for each in streams):
        return "a standard stream"
    if value.closed:
        return "closed"
    try:
        return f"at {value.tell()}"
    except (OSError, ValueError):
        raise _InUse from None


def _future(value: concurrent.futures.Future[Any]) -> str:
    if value.done() or value.running():
        raise _InUse
    return "pending"


def _process(value: Any) -> str:
    started = value.pid is not None
    if started and (value.poll() if hasattr(value, "poll") else value.exitcode) is None:
        raise _InUse
    return "ended" if started else "not started"


def _queue(value: Any) -> str:
    if not value.empty():
        raise _InUse
    return "empty"


def _c_value(value: Any) -> str | None:
    """The bytes of a value of `ctypes` that is no address."""
    is_address = (
        hasattr(value, "contents") or callable(value) or getattr(value, "_type_", "") in _ADDRESSES
    )
    return None if is_address else _memory(value)


_ADDRESSES = ("z", "Z", "P")


def _memory(value: Any) -> str | None:
    view = memoryview(value)
    if view.nbytes > _LARGEST:
        raise _InUse
    return hashlib.sha256(view.tobytes()).hexdigest()[:12]


def _in_use(_: Any) -> str:
    raise _InUse


_STATES: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    ((type(threading.Lock()), type(threading.RLock())),
     lambda value: "locked" if repr(value).startswith("<locked") else "unlocked"),
    (threading.Event, lambda value: "set" if value.is_set() else "not set"),
    (threading.Semaphore, lambda value: str(value._value)),
    (threading.Thread, lambda value: "running" if value.is_alive() else "not running"),
    (concurrent.futures.Future, _future),
    (queue.SimpleQueue, _queue),
    ((io.BytesIO, io.StringIO), lambda value: None),
    (io.IOBase, _file),
    (weakref.finalize, lambda value: "alive" if value.alive else "dead"),
    (itertools.count, repr),
)  # fmt: skip
_BY_NAME: Mapping[tuple[str, str], Callable[[Any], str | None]] = {
    **dict.fromkeys((
        ("tempfile", "_TemporaryFileWrapper"), ("tempfile", "SpooledTemporaryFile"),
        ("tempfile", "TemporaryDirectory"), ("zlib", "Compress"), ("zlib", "Decompress"),
        ("_bz2", "BZ2Compressor"), ("_bz2", "BZ2Decompressor"),
        ("_lzma", "LZMACompressor"), ("_lzma", "LZMADecompressor"),
    ), _in_use),
    **{("multiprocessing.context", f"{how}Process"): _process for how in ("", "Fork", "Spawn", "ForkServer")},
    ("subprocess", "Popen"): _process,
    ("sqlite3", "Connection"): lambda value: f"{value.total_changes} changes",
    ("hmac", "HMAC"): lambda value: value.hexdigest(),
    ("mmap", "mmap"): _memory,
    ("_multiprocessing", "SemLock"): lambda value: "locked" if value._is_zero() else "unlocked",
}  # fmt: skip


def opaque(value: Any, name: str, edges: Edges, place: Surroundings) -> Found:
    """What cannot be pickled: iterators by their place, digests by their bytes, others by what they show."""
    kind = type(value)
    if hasattr(kind, "__next__"):
        try:
            name = f"{name} {_iterator(value)}"
        except _InUse:
            text = ANOTHER if place.is_package else _named(value, "in use")
            return Found("live", text, has_identity=True)
    elif hasattr(kind, "hexdigest"):
        has_length = kind.__name__.startswith("shake")
        name = f"{name} {value.hexdigest(32) if has_length else value.hexdigest()}"
    return Found("opaque", name, [*edges, *plain_attributes(value)], has_identity=True)


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
    held = ((getattr(each, "__module__", 0), each) for each in (*value.filters, *value.handlers))
    own = [each for module, each in held if place.is_own(module or type(each).__module__)]
    return Found("logger", text, [(("item", str(n)), each) for n, each in enumerate(own)])


def queued(value: queue.Queue[Any], place: Surroundings) -> Found:
    edges = [(("items", ""), list(value.queue))]
    return Found("queue", f"{type(value).__name__} {value.maxsize}", edges, has_identity=True)


def forward(value: Any, place: Surroundings) -> Found:
    return Found("value", f"ForwardRef {value.__forward_arg__}")


def cached_property(value: functools.cached_property[Any], place: Surroundings) -> Found:
    return Found("cached property", str(value.attrname), [(("function", ""), value.func)])
