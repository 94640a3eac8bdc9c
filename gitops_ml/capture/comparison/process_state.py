"""What belongs to the whole process and decides answers: both interpreters read it, and it is compared.

Only what a statement of the session can have set is read: kernels and libraries set much for themselves. Not here,
because no answer depends on it: the working folder and the umask, limits and priorities, hooks for errors and
traces, event loops, garbage collection, logging, what is done at exit.
"""

from __future__ import annotations

import decimal
import locale
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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

    setters: frozenset[str]
    """Names in source that can set it."""
    read: Callable[[Surroundings], str]
    remedy: str = _BY_ITSELF
    module: str = ""
    """The library that has it."""


def named_in(names: Iterable[str]) -> tuple[str, ...]:
    """What source that uses these names can have set."""
    known = frozenset(names)
    return tuple(name for name, state in STATES.items() if state.setters & known)


def state_of(name: str, place: Surroundings) -> str:
    """One setting of this process as text, the same for equal ones."""
    state = STATES[name]
    if state.module and state.module not in sys.modules:
        return NOT_LOADED
    try:
        return state.read(place)
    except Exception as error:  # noqa: BLE001 - a library that has it under other names
        return f"unknown: {type(error).__name__}"


def _time_zone(place: Surroundings) -> str:
    return f"{'/'.join(time.tzname)} {time.timezone}"


def _locale(place: Surroundings) -> str:
    kinds = (locale.LC_NUMERIC, locale.LC_TIME, locale.LC_MONETARY, locale.LC_COLLATE)
    found = sorted({locale.setlocale(each) for each in kinds} - _OF_IMAGES)
    if found and place.is_package:
        return "C, as images have no other"
    return ", ".join(found) or "C"


_OF_IMAGES = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})


def _handlers(place: Surroundings) -> str:
    return ", ".join(sorted(_own_handlers(place))) or "those of Python"


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


def _numpy_errors(place: Surroundings) -> str:
    return _listed(sys.modules["numpy"].geterr())


def _numpy_prints(place: Surroundings) -> str:
    return _listed(sys.modules["numpy"].get_printoptions())


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


def _state(
    *setters: str,
    read: Callable[[Surroundings], str],
    remedy: str = _BY_ITSELF,
    module: str = "",
) -> State:
    return State(frozenset(setters), read, remedy, module)


STATES = {
    "the time zone": _state(
        "tzset", read=_time_zone,
        remedy="list TZ under `env` of the API, or use a time zone from zoneinfo",
    ),
    "the locale": _state(
        "setlocale", read=_locale,
        remedy="format without it, for example with babel, or set it in __init__, in an image that has it",
    ),
    "the set of signal handlers": _state(
        "signal", read=_handlers,
        remedy="the runtime handles the signals of a replica: reset them (signal.signal(number, signal.SIG_DFL)), "
        "and free what the class holds in a method shutdown",
    ),
    "the recursion limit": _state(
        "setrecursionlimit", read=lambda place: str(sys.getrecursionlimit())
    ),
    "the stack size of threads": _state(
        "stack_size", read=lambda place: str(threading.stack_size()),
        remedy="start a thread with it in predict, for the call that needs it",
    ),
    "the number of digits of whole numbers": _state(
        "set_int_max_str_digits",
        read=lambda place: str(getattr(sys, "get_int_max_str_digits", lambda: 0)()),
    ),
    "the list of warnings that are errors": _state(
        "filterwarnings", "simplefilter", "resetwarnings", read=_errors
    ),
    "the time limit of sockets": _state(
        "setdefaulttimeout", read=lambda place: str(socket.getdefaulttimeout())
    ),
    "the context of decimals": _state("getcontext", "setcontext", read=_decimals),
    "the list of NumPy's reactions to errors": _state(
        "seterr", read=_numpy_errors, module="numpy"
    ),
    "the way NumPy prints": _state("set_printoptions", read=_numpy_prints, module="numpy"),
    "the set of pandas options": _state("set_option", "options", read=_of_pandas, module="pandas"),
    "the configuration of scikit-learn": _state(
        "set_config", read=_of_scikit_learn, module="sklearn"
    ),
    "the state of torch": _state(
        "set_default_dtype", "set_default_device", "set_default_tensor_type", "set_grad_enabled",
        "set_num_threads", "use_deterministic_algorithms", read=_of_torch, module="torch",
    ),
}  # fmt: skip
