"""What an object is for a portrait: its kind, its own text, and what it holds."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import queue
import sys
import threading
import types
import typing
import weakref
from abc import ABCMeta
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, ContextVar
from itertools import chain
from typing import Any

from gitops_ml.capture.comparison.code_digest import code_digest, short_repr
from gitops_ml.capture.comparison.portrait import (
    Builtin,
    Edges,
    Found,
    OfPlace,
    Surroundings,
    globals_of,
    subclasses_of,
)
from gitops_ml.capture.comparison.portrait_pandas import of_pandas
from gitops_ml.capture.comparison.portrait_process import (
    cached_property,
    context,
    context_variable,
    forward,
    generator,
    live,
    logger,
    named_builtin,
    of_place,
    opaque,
    queued,
    state_of,
)
from gitops_ml.capture.comparison.process_state import HEAP

_SCALARS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_LONG = 200
"""Items, or characters, from which only a hash is kept."""
_OF_CLASSES = frozenset(
    {
        "__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__",
        "__annotate__", "__annotate_func__", "__annotations_cache__", "__signature__", "_abc_impl",
        "__abstractmethods__", "__slotnames__", "__pydantic_core_schema__", "__pydantic_validator__",
        "__pydantic_serializer__", "__pydantic_decorators__", "__pydantic_parent_namespace__",
        "__pydantic_complete__", "__pydantic_setattr_handlers__", "__pydantic_custom_init__",
        "__pydantic_generic_metadata__", "__pydantic_computed_fields__", "__pydantic_extra__",
        "__pydantic_fields_complete__", "__pydantic_post_init__", "__pydantic_private__",
    }
)  # fmt: skip
"""Attributes that Python or a library derives from the others, or that name the module."""
_OF_FUNCTIONS = frozenset({"__signature__", "__annotate__"})
_DESCRIPTORS = (
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType,
    types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
    types.MethodWrapperType,
)  # fmt: skip
_OF_THREADS = vars(threading.Thread()).keys()
_WEAK_DICTS = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)
_DISPATCH = getattr(functools.singledispatch(repr), "__code__", None)


def found(value: Any, place: Surroundings) -> Found:
    """What ``value`` is."""
    kind = type(value)
    if kind in _SCALARS:
        return Found("value", f"{kind.__name__} {_short(_scalar(value, place))}")
    if shared := _shared_method(value, place):
        return Found("installed", shared)
    if kind in _BY_TYPE:
        return _BY_TYPE[kind](value, place)
    if isinstance(value, types.ModuleType):
        return Found("module", place.neutral(value.__name__))
    if reference := place.reference(value):
        return Found("installed", reference)
    for kinds, describe in _BY_KIND:
        if isinstance(value, kinds):
            return describe(value, place)
    if (kind.__module__, kind.__qualname__) == ("numpy", "ndarray"):
        return _array(value, place)
    if (table := of_pandas(value, place)) is not None:
        return table
    if place.reference(kind) is None and kind.__flags__ & HEAP and not _is_of_c(kind, place):
        return _own_instance(value, place)
    return _instance(value, place)


def _is_of_c(kind: type, place: Surroundings) -> bool:
    """Whether it is a type of a library in C which no module names, such as that of `csv.reader`."""
    is_own = place.is_own(kind.__module__)
    return not (is_own or kind.__dictoffset__ or "__slots__" in vars(kind))


def _shared_method(value: Any, place: Surroundings) -> str | None:
    """The name of a method that a module shares as a function, such as `random.choice`.

    What its object holds belongs to the process; the statements that set it are in the package.
    """
    if not isinstance(value, types.MethodType | types.BuiltinMethodType):
        return None
    module, name = type(value.__self__).__module__, str(value.__name__)
    if place.is_own(module) or getattr(sys.modules.get(module), name, None) is not value:
        return None
    return f"{module}:{name}"


def _short(text: str) -> str:
    if len(text) <= _LONG:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:40]}… {len(text)} {digest}"


def _scalar(value: Any, place: Surroundings) -> str:
    return short_repr(place.neutral(value) if type(value) is str else value)


# -- containers ------------------------------------------------------------------------------------


def _items(value: Any, place: Surroundings) -> Found:
    name = type(value).__name__
    if len(value) > _LONG and all(type(each) in _SCALARS for each in value):
        text = "\n".join(_scalar(each, place) for each in value)
        return Found(name, f"{len(value)} {_short(text)}", has_identity=isinstance(value, list))
    edges = [(("item", str(number)), each) for number, each in enumerate(value)]
    return Found(name, edges=edges, has_identity=isinstance(value, list))


def _dict(value: Mapping[Any, Any], place: Surroundings) -> Found:
    plain = all(type(key) in _SCALARS for key in value)
    if len(value) > _LONG and plain and all(type(each) in _SCALARS for each in value.values()):
        text = "\n".join(f"{_scalar(k, place)}: {_scalar(v, place)}" for k, v in value.items())
        return Found("dict", f"{len(value)} {_short(text)}", has_identity=type(value) is dict)
    return Found("dict", edges=_dict_edges(value, place), has_identity=type(value) is dict)


def _dict_edges(value: Mapping[Any, Any], place: Surroundings) -> Edges:
    for number, (key, each) in enumerate(list(value.items())):
        if type(key) in _SCALARS:
            yield (("item", _scalar(key, place)), each)
        else:
            yield (("key", str(number)), key)
            yield (("value", str(number)), each)


def _set(value: set[Any] | frozenset[Any], place: Surroundings) -> Found:
    members = sorted(value, key=lambda each: _order(each, place))
    edges = [(("member", str(number)), each) for number, each in enumerate(members)]
    return Found(type(value).__name__, edges=edges, has_identity=type(value) is set)


def _order(value: Any, place: Surroundings, depth: int = 0) -> str:
    """A text that sorts the members of a set alike in each process."""
    if type(value) in _SCALARS:
        return f"{type(value).__name__} {_scalar(value, place)}"
    if isinstance(value, tuple | frozenset) and depth < 5:
        return f"{type(value).__name__} {[_order(each, place, depth + 1) for each in value]}"
    if isinstance(value, type | types.FunctionType):
        return f"{place.neutral(str(value.__module__))} {value.__qualname__}"
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and depth < 5:
        held = sorted((str(k), _order(each, place, depth + 1)) for k, each in state.items())
        return f"{type(value).__qualname__} {held}"
    return f"{type(value).__qualname__} {value!r}"


def _array(value: Any, place: Surroundings) -> Found:
    if value.dtype.hasobject:
        edges = [(("item", str(n)), each) for n, each in enumerate(value.ravel().tolist())]
        return Found("array", f"{value.dtype.str} {value.shape}", edges, has_identity=True)
    digest = hashlib.sha256(value.tobytes()).hexdigest()
    text = f"{value.dtype.descr} {value.shape} {digest}"
    flags = value.flags
    if not flags.writeable:
        text += " read-only"
    if flags.f_contiguous and not flags.c_contiguous:
        text += " by columns"
    return Found("array", text, has_identity=True)


# -- functions and classes -------------------------------------------------------------------------


def _function(value: types.FunctionType, place: Surroundings) -> Found:
    if value.__code__ is _DISPATCH and hasattr(value, "registry"):
        return Found("dispatch", value.__name__, _registered(value, place))
    text = f"{value.__name__} {_docstring(value)} {code_digest(value.__code__)}"
    return Found("function", text, _parts(value, place))


def _docstring(value: types.FunctionType) -> str:
    """As text, without the seconds in which a client of AWS would write the texts of its methods."""
    text = value.__doc__
    return repr(text) if text is None or type(text) is str else type(text).__qualname__


def _parts(value: types.FunctionType, place: Surroundings) -> Edges:
    for number, each in enumerate(value.__defaults__ or ()):
        yield (("default", str(number)), each)
    for name, each in sorted((value.__kwdefaults__ or {}).items()):
        yield (("default", name), each)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        yield (("closure", name), _content(cell))
    yield from _annotations(value)
    for name, each in sorted(vars(value).items()):
        if name not in _OF_FUNCTIONS:
            yield (("attribute", name), each)
    yield from globals_of(value, place)
    yield from subclasses_of(value, place)


def _annotations(value: Any) -> Edges:
    with contextlib.suppress(Exception):  # 3.14 evaluates them here
        for name, each in sorted(value.__annotations__.items()):
            yield (("annotation", name), each)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return Builtin("")


def _registered(value: Any, place: Surroundings) -> Edges:
    registry = value.registry.items()
    for kind, each in sorted(registry, key=lambda item: _order(item[0], place)):
        yield (("registered", kind.__qualname__), each)


def _method(value: types.MethodType, place: Surroundings) -> Found:
    return Found(
        "method", edges=[(("self", ""), value.__self__), (("function", ""), value.__func__)]
    )


def _descriptor(value: Any, place: Surroundings) -> Found:
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return Found("method", value.__name__, [(("self", ""), owner)])
    return Found("descriptor", f"{type(value).__name__} {value.__name__}")


def _wrapper(value: Any, place: Surroundings) -> Found:
    return Found(type(value).__name__, edges=[(("function", ""), value.__func__)])


def _property(value: property, place: Surroundings) -> Found:
    parts = [("get", value.fget), ("set", value.fset), ("delete", value.fdel)]
    return Found("property", repr(value.__doc__), [((name, ""), each) for name, each in parts])


def _cached(value: Any, place: Surroundings) -> Found:
    edges = [(("function", ""), value.__wrapped__)]
    return Found("cached", str(sorted(value.cache_parameters().items())), edges)


def _class(value: type, place: Surroundings) -> Found:
    if not value.__flags__ & HEAP:
        return Found("installed", value.__qualname__)
    return Found("class", value.__qualname__, _class_edges(value, place), has_identity=True)


def _class_edges(value: type, place: Surroundings) -> Edges:
    yield (("metaclass", ""), type(value))
    for number, each in enumerate(value.__bases__):
        yield (("base", str(number)), each)
    for name, each in sorted(vars(value).items()):
        if name not in _OF_CLASSES:
            yield (("attribute", name), each)
    if isinstance(value, ABCMeta):
        yield (("virtual", ""), _virtual_subclasses(value, place))


def _virtual_subclasses(value: type, place: Surroundings) -> tuple[str, ...]:
    from abc import _get_dump  # type: ignore[attr-defined]

    live = (each() for each in _get_dump(value)[0])
    return tuple(sorted(_order(each, place) for each in live if each is not None))


# -- instances -------------------------------------------------------------------------------------


def _own_instance(value: Any, place: Surroundings) -> Found:
    edges = chain(((("class", ""), type(value)),), _state(value), _held(value, place))
    text = state_of(value, place) or ""
    for base in (str, bytes, int, float, complex):
        if isinstance(value, base):
            text = base.__repr__(value)
    kind = "object" if place.is_own(type(value).__module__) else "instance"
    return Found(kind, text, edges, has_identity=True)


def _state(value: Any) -> Edges:
    state = getattr(value, "__dict__", None)
    for name, each in sorted(state.items()) if isinstance(state, dict) else ():
        if not (isinstance(value, threading.Thread) and name in _OF_THREADS):
            yield (("attribute", str(name)), each)
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with contextlib.suppress(AttributeError):
                yield (("attribute", name), object.__getattribute__(value, name))


def _held(value: Any, place: Surroundings) -> Edges:
    if isinstance(value, dict):
        yield from _dict_edges(dict(dict.items(value)), place)
    elif isinstance(value, set | frozenset):
        yield from _set(set(value), place).edges
    elif isinstance(value, list | tuple | deque):
        yield from ((("item", str(n)), each) for n, each in enumerate(list(value)))
    elif isinstance(value, BaseException):
        yield (("item", "args"), value.args)


def _instance(value: Any, place: Surroundings) -> Found:
    """An instance of an installed class, by what pickle would keep of it."""
    if (state := live(value, place)) is not None:
        return state
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    try:
        made = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - whatever a class does here
        return opaque(value, name, _state(value), place)
    if isinstance(made, str):
        return Found("named", f"{name} {made}", _bounds(value))
    has_identity = _has_identity(kind)
    return Found("instance", name, list(_reduced(made, place)), has_identity=has_identity)


def _reduced(made: tuple[Any, ...], place: Surroundings) -> Iterator[tuple[tuple[str, str], Any]]:
    parts: list[Any] = [*made, None, None, None, None]
    function, arguments, state, items, pairs = parts[:5]
    yield (("made by", ""), function)
    yield from ((("argument", str(n)), each) for n, each in enumerate(arguments or ()))
    for part in state if _is_pair(state) else (state,):
        if isinstance(part, dict) and all(isinstance(name, str) for name in part):
            yield from ((("attribute", name), each) for name, each in sorted(part.items()))
        elif part is not None:
            yield (("state", ""), part)
    yield from ((("item", str(n)), each) for n, each in enumerate(items or ()))
    yield from _dict_edges(dict(pairs or ()), place)


def _has_identity(kind: type) -> bool:
    """Whether two equal instances can differ: nothing compares them by value."""
    method: Any = kind.__hash__
    return method is None or method is object.__hash__


def _is_pair(state: Any) -> bool:
    return (
        isinstance(state, tuple)
        and len(state) == 2
        and all(each is None or isinstance(each, dict) for each in state)
    )


def _bounds(value: Any) -> Edges:
    for name in ("__bound__", "__constraints__", "__default__", "__supertype__", "__value__"):
        if name in dir(value):
            with contextlib.suppress(Exception):  # 3.12 evaluates some of them here
                yield (("attribute", name), getattr(value, name))


def _weak_dict(value: Any, place: Surroundings) -> Found:
    """Only what it says of the user's own instances; what it says of classes is a cache."""
    held = {key: each for key, each in list(value.items()) if _is_own_instance(key, each, place)}
    return Found("cache", type(value).__name__, list(_dict_edges(held, place)))


def _is_own_instance(key: Any, value: Any, place: Surroundings) -> bool:
    kinds = [type(each).__module__ for each in (key, value) if not isinstance(each, type)]
    return any(map(place.is_own, kinds))


def _weak_set(value: Any, place: Surroundings) -> Found:
    held = {each for each in value if _is_own_instance(each, type, place)}
    return Found("cache", type(value).__name__, list(_set(held, place).edges))


def _weak_reference(value: Any, place: Surroundings) -> Found:
    target = value()
    edges = [(("target", ""), target)] if _is_own_instance(target, type, place) else []
    return Found("cache", type(value).__name__, edges)


_BY_TYPE: Mapping[type, Callable[[Any, Surroundings], Found]] = {
    list: _items,
    tuple: _items,
    dict: _dict,
    types.MappingProxyType: _dict,
    set: _set,
    frozenset: _set,
    types.MethodType: _method,
    types.CodeType: lambda value, place: Found("code", code_digest(value)),
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    typing.ForwardRef: forward,
    Builtin: lambda value, place: Found("builtin", named_builtin(value)),
    OfPlace: lambda value, place: of_place(value.value, place),
}
_BY_KIND: tuple[tuple[Any, Callable[[Any, Surroundings], Found]], ...] = (
    (type, _class),
    (types.FunctionType, _function),
    (_DESCRIPTORS, _descriptor),
    (_WEAK_DICTS, _weak_dict),
    (weakref.WeakSet, _weak_set),
    (weakref.ref, _weak_reference),
    (functools._lru_cache_wrapper, _cached),
    (functools.cached_property, cached_property),
    (queue.Queue, queued),
    (logging.Logger, logger),
    (ContextVar, context_variable),
    (Context, context),
    ((types.GeneratorType, types.CoroutineType), generator),
)
