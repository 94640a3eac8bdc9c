"""What belongs to the whole process and decides answers: its settings, and what a session put into libraries.

Both interpreters read the settings, and they are compared. Only what a statement of the session can have set is read:
kernels and libraries set much for themselves. No answer depends on the working folder, the umask, limits, priorities,
hooks for errors and traces, event loops, garbage collection, logging, or what is done at exit: they are not here.
"""

from __future__ import annotations

import ast
import builtins
import decimal
import functools
import locale
import signal
import socket
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gitops_ml.capture.statements import Source

if TYPE_CHECKING:
    from gitops_ml.capture.comparison.portrait import Surroundings

SHELLS = frozenset({"IPython", "ipykernel"})
"""Libraries that run a session, and set something in its process that no package needs."""
NOT_LOADED = "not loaded"
"""What is read of a library that a process has not imported."""
_BY_ITSELF = (
    "set it by a statement of its own in a cell, or in the module of the class, "
    "not in a function that does more"
)


@dataclass(frozen=True, slots=True)
class State:
    """One setting of a process."""

    setters: tuple[str, ...]
    """Names in source that can set it."""
    read: Callable[[Surroundings], str]
    remedy: str = _BY_ITSELF
    module: str = ""
    """The library that has it."""


def named_in(names: Iterable[str]) -> tuple[str, ...]:
    """What source that uses these names can have set."""
    known = frozenset(names)
    return tuple(name for name, state in STATES.items() if known.intersection(state.setters))


def state_of(name: str, place: Surroundings) -> str:
    """One setting of this process as text, the same for equal ones."""
    state = STATES[name]
    if state.module and state.module not in sys.modules:
        return NOT_LOADED
    try:
        return state.read(place)
    except Exception as error:  # noqa: BLE001 - a library that has it under other names
        return f"unknown: {type(error).__name__}"


def _locale(place: Surroundings) -> str:
    kinds = (locale.LC_NUMERIC, locale.LC_TIME, locale.LC_MONETARY, locale.LC_COLLATE)
    found = sorted({locale.setlocale(each) for each in kinds} - _OF_IMAGES)
    if found and place.is_package:
        return "C, as images have no other"
    return ", ".join(found) or "C"


_OF_IMAGES = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})


def _own_handlers(place: Surroundings) -> Iterator[str]:
    for each in signal.valid_signals():
        handler = signal.getsignal(each)
        if callable(handler) and place.is_own(getattr(handler, "__module__", "")):
            number = each.name if isinstance(each, signal.Signals) else str(each)
            yield f"{number}: {getattr(handler, '__qualname__', 'an object')}"


def _errors(place: Surroundings) -> str:
    found = {
        f"{getattr(kind, '__name__', kind)} {getattr(text, 'pattern', text) or ''} {getattr(of, 'pattern', of) or ''}"
        for action, text, kind, of, _ in warnings.filters
        if action == "error" and kind.__module__.partition(".")[0] not in SHELLS
    }
    return ", ".join(each.strip() for each in sorted(found)) or "none"


def _decimals(place: Surroundings) -> str:
    context = decimal.getcontext().copy()
    context.clear_flags()
    return repr(context)


def _listed(
    options: Mapping[str, object], defaults: Mapping[str, object] = MappingProxyType({})
) -> str:
    """The options that are not the defaults, in short."""
    changed = (
        f"{name}={value!r}"
        for name, value in sorted(options.items())
        if name not in defaults or defaults[name] != value
    )
    return ", ".join(changed) or "the defaults"


def _of_pandas(place: Surroundings) -> str:
    options: Any = sys.modules["pandas._config.config"]
    found = {}
    for name, option in sorted(options._registered_options.items()):
        value: Any = options._global_config
        for part in name.split("."):
            value = value[part]
        if value != option.defval:
            found[name] = value
    return _listed(found)


def _of_torch(place: Surroundings) -> str:
    torch: Any = sys.modules["torch"]
    facts = (
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.empty(0).device.type,
    )  # fmt: skip
    return " ".join(map(str, facts))


def _of_scikit_learn(place: Surroundings) -> str:
    defaults = getattr(sys.modules.get("sklearn._config"), "_global_config", {})
    return _listed(sys.modules["sklearn"].get_config(), defaults)


STATES = {
    "the time zone": State(
        ("tzset",), lambda _: f"{'/'.join(time.tzname)} {time.timezone}",
        "list TZ under `env` of the API, or use a time zone from zoneinfo",
    ),
    "the locale": State(
        ("setlocale",), _locale,
        "format without it, for example with babel, or set it in __init__, in an image that has it",
    ),
    "the set of signal handlers": State(
        ("signal",), lambda place: ", ".join(sorted(_own_handlers(place))) or "those of Python",
        "the runtime handles the signals of a replica: reset them (signal.signal(number, signal.SIG_DFL)), "
        "and free what the class holds in a method shutdown",
    ),
    "the recursion limit": State(("setrecursionlimit",), lambda _: str(sys.getrecursionlimit())),
    "the stack size of threads": State(
        ("stack_size",), lambda _: str(threading.stack_size()),
        "start a thread with it in predict, for the call that needs it",
    ),
    "the number of digits of whole numbers": State(
        ("set_int_max_str_digits",), lambda _: str(getattr(sys, "get_int_max_str_digits", lambda: 0)()),
    ),
    "the list of warnings that are errors": State(("filterwarnings", "simplefilter", "resetwarnings"), _errors),
    "the time limit of sockets": State(("setdefaulttimeout",), lambda _: str(socket.getdefaulttimeout())),
    "the context of decimals": State(("getcontext", "setcontext"), _decimals),
    "the list of NumPy's reactions to errors": State(
        ("seterr",), lambda _: _listed(sys.modules["numpy"].geterr()), module="numpy",
    ),
    "the way NumPy prints": State(
        ("set_printoptions",), lambda _: _listed(sys.modules["numpy"].get_printoptions()), module="numpy",
    ),
    "the set of pandas options": State(("set_option", "options"), _of_pandas, module="pandas"),
    "the configuration of scikit-learn": State(("set_config",), _of_scikit_learn, module="sklearn"),
    "the state of torch": State(
        ("set_default_dtype", "set_default_device", "set_default_tensor_type", "set_grad_enabled",
         "set_num_threads", "use_deterministic_algorithms"), _of_torch, module="torch",
    ),
}  # fmt: skip


_OF_THE_PROCESS = frozenset({"sys", "os", "time", "builtins", "__main__", "__mp_main__"})
_HOOKS = frozenset({"excepthook", "displayhook", "unraisablehook"})
HEAP = 1 << 9
"""The flag of types that Python code can make and change."""


def value_at(reference: str) -> Any:
    """The value of ``module:Class.attribute``, as its holder has it; else its absence, as a text."""
    module, _, name = reference.partition(":")
    if module not in sys.modules:
        return NOT_LOADED
    holder: Any = sys.modules[module]
    *path, last = name.split(".")
    for part in path:
        holder = _held(holder).get(part)
    return _held(holder).get(last, "nothing")


def _held(value: Any) -> Mapping[str, Any]:
    is_holder = issubclass(type(value), type | types.ModuleType)
    return vars(value) if is_holder else {}


def origin_of(value: Any) -> str:
    """The module of a function, or of the class that an accessor makes."""
    inner = _inner(getattr(value, "_accessor", value))
    return str(getattr(inner, "__module__", None) or "")


def _inner(value: Any) -> Any:
    kind = type(value)
    if kind in (staticmethod, classmethod):
        return value.__func__
    if kind is property:
        return value.fget
    return value.func if kind is functools.cached_property else value


def replaced_builtins() -> list[str]:
    """The names that the session gave to builtins; it uses no builtin itself, as any can be replaced."""
    main = sys.modules["__main__"].__dict__
    return [name for name, value in builtins.__dict__.items() if _is_made_in(main, value)]


def replaced_in_python(namespace: Mapping[str, Any], source: Source) -> list[str]:
    """What the session replaced in modules of Python, which this package uses as well: ``json.dumps``."""
    found = {
        each.replace(":", ".")
        for each in Patches(namespace, source, frozenset()).references(frozenset())
    }
    for module in _OF_THE_PROCESS - {"builtins", "__main__", "__mp_main__"}:
        held = vars(sys.modules[module])
        found |= {f"{module}.{name}" for name, each in held.items() if _is_made_in(namespace, each)}
    hooks = {f"sys.{name}" for name in _HOOKS}
    return sorted(
        each for each in found - hooks if each.partition(".")[0] in sys.stdlib_module_names
    )


def _is_made_in(main: Mapping[str, Any], value: Any) -> bool:
    while value.__class__ is types.MethodType:
        value = value.__func__
    while value.__class__ is functools.partial:
        value = value.func
    if value.__class__ is types.FunctionType:
        return value.__globals__ is main
    return _MAIN in (value.__class__.__module__, value.__class__ is _TYPE and value.__module__)


_MAIN = "__main__"
_TYPE = type


def origin_of_builtin(name: str) -> str:
    """The library that replaced a builtin; empty for those of Python and of the shell."""
    value = getattr(builtins, name, None)
    module = str(getattr(value, "__module__", None) or type(value).__module__)
    return "" if module.partition(".")[0] in _OF_BUILTINS else module


_OF_BUILTINS = frozenset({"builtins", "io", "_io", "_sitebuiltins"}) | SHELLS


@dataclass(frozen=True)
class Patches:
    """Where a session changed libraries."""

    namespace: Mapping[str, Any]
    source: Source
    own: frozenset[str]
    """The user's own top-level modules."""

    def references(self, used: frozenset[str]) -> tuple[str, ...]:
        """All of them; of what another library put there only the names that are ``used``."""
        found = {*self._by_value(used), *self._by_statement()}
        return tuple(sorted(each for each in found if each.split(".")[-1] not in _HOOKS))

    # -- what is there now

    def _by_value(self, used: frozenset[str]) -> Iterator[str]:
        seen = set()
        for name, module in list(sys.modules.items()):
            if not issubclass(type(module), types.ModuleType) or self._is_ours(name):
                continue
            for key, value in list(vars(module).items()):
                if self._is_of_session(value):
                    yield f"{name}:{key}"
                elif issubclass(type(value), type) and id(value) not in seen:
                    seen.add(id(value))
                    yield from self._in_class(value, used)

    def _in_class(self, kind: type, used: frozenset[str]) -> Iterator[str]:
        held = vars(kind)
        module = str(held.get("__module__"))
        top = module.partition(".")[0]
        if self._is_ours(module) or not kind.__flags__ & HEAP:
            return
        keys = [
            key
            for key, each in list(held.items())
            if type(each) in _OF_CODE and self._is_of_session(_inner(each))
        ]
        named = (key for key in list(held) if key in used and key[:2] != "__")
        foreign = (key for key in named if self._is_foreign(held[key], top))
        yield from (_reference(kind, key) for key in (*keys, *foreign))

    def _is_foreign(self, value: Any, top: str) -> bool:
        """Whether a library put it into another one, as ``tqdm.pandas()`` does."""
        origin = origin_of(value).partition(".")[0]
        return origin not in ("", top, "builtins") and origin not in sys.stdlib_module_names

    def _is_of_session(self, value: Any) -> bool:
        if type(value) is types.FunctionType:
            return id(value.__globals__) in self._namespaces
        return issubclass(type(value), type) and self._is_own(vars(value).get("__module__"))

    @functools.cached_property
    def _namespaces(self) -> frozenset[int]:
        own = (each for name, each in list(sys.modules.items()) if self._is_own(name))
        return frozenset({id(self.namespace), *(id(_held(each)) for each in own)})

    def _is_own(self, module: object) -> bool:
        return module == self._owner or str(module).partition(".")[0] in self.own

    @functools.cached_property
    def _owner(self) -> str:
        return str(self.namespace.get("__name__", "__main__"))

    def _is_ours(self, module: str) -> bool:
        return module.partition(".")[0] in _OF_THE_PROCESS or self._is_own(module)

    # -- what statements assign

    def _by_statement(self) -> Iterator[str]:
        for statement in self.source.statements:
            imported: dict[str, Any] = {}
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    imported.update(_bound_by(node))
            for chain in _assigned(statement.node):
                root = imported.get(chain[0], self.namespace.get(chain[0]))
                yield from self._reference_of(root, chain[1:])

    def _reference_of(self, holder: Any, chain: tuple[str, ...]) -> Iterator[str]:
        *path, last = chain
        for part in path:
            holder = _held(holder).get(part)
        if issubclass(type(holder), types.ModuleType):
            if not self._is_ours(holder.__name__):
                yield f"{holder.__name__}:{last}"
        elif issubclass(type(holder), type) and not self._is_ours(
            str(vars(holder).get("__module__"))
        ):
            yield _reference(holder, last)


_OF_CODE = frozenset(
    {types.FunctionType, staticmethod, classmethod, property, functools.cached_property, type}
)


def _reference(kind: type, name: str) -> str:
    """By the shortest name of the module that has the class."""
    module, qualname = str(vars(kind).get("__module__")), kind.__qualname__
    public = module.partition(".")[0]
    is_public = _held(sys.modules.get(public)).get(qualname) is kind
    return f"{public if is_public else module}:{qualname}.{name}"


def _bound_by(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    for each in node.names:
        if isinstance(node, ast.ImportFrom):
            yield each.asname or each.name, _held(sys.modules.get(node.module or "")).get(each.name)
        else:
            module = each.name if each.asname else each.name.partition(".")[0]
            yield each.asname or module, sys.modules.get(module)


def _assigned(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """The names in each ``a.b.c = …`` and ``setattr(a.b, "c", …)``."""
    for each in ast.walk(node):
        match each:
            case ast.Call(
                func=ast.Name(id="setattr" | "delattr"),
                args=[target, ast.Constant(value=str(name)), *_],
            ):
                if chain := _chain(target):
                    yield (*chain, name)
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                if chain := _chain(each):
                    yield chain


def _chain(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value, attr=name) if chain := _chain(value):
            return (*chain, name)
    return ()
