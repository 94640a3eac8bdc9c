"""Load the user's class, and wrap its methods to be called with the arguments that they name.

The class, the arguments, and sync or async are decided here, once, at load.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from predictor_base.errors import StartFailure, as_failure
from predictor_base.predictor.cortex_modules import offer_cortex_modules
from predictor_base.predictor.environment_file import load_environment
from predictor_base.predictor.typed import converter, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from predictor_base.predictor.typed import Field
    from predictor_base.settings import Settings

MODULE = "cortex_predictor"
IMPORTABLE = str(Path(__file__).parents[1] / "importable")
"""Of the search path, which processes that a pool spawns inherit: there they find the module."""
CLASS_NAMES = ("PythonPredictor", "TensorFlowPredictor", "ONNXPredictor", "Predictor", "Handler")
VERBS = ("get", "post", "put", "patch", "delete")
REQUEST_ARGUMENTS = ("payload", "query_params", "headers", "request_id", "batch_id")
CLIENT_ARGUMENTS = {
    "python": ("python_client", "model_client"),
    "tensorflow": ("tensorflow_client", "model_client"),
    "onnx": ("onnx_client", "model_client"),
}
ALWAYS_OFFERED = ("config", "metrics_client", "job_spec")
OTHER_METHODS = (
    "explain",
    "predict_batch",
    "generate",
    "chat_completions",
    "completions",
    "embeddings",
    "feedback",
)

Kind = Literal["sync", "async", "generator", "async_generator"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the predictor, wrapped: `call(request)` passes what its signature names."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    kind: Kind
    call: Callable[[Any], Any]
    convert: Callable[[Any], Any] | None = None
    """Converts decoded JSON to the annotated type; None where the annotation is not used. `call` does it for a request
    that has this function: the type may have code of the predictor's, which must not run on the event loop."""
    fields: Mapping[str, Field] = field(default_factory=dict)
    """What each field of that type holds for a tensor."""

    @property
    def is_stream(self) -> bool:
        return self.kind in ("generator", "async_generator")

    @property
    def wants_payload(self) -> bool:
        return "payload" in self.arguments

    @property
    def is_short(self) -> bool:
        """Whether it takes a payload and returns a value."""
        return self.wants_payload and not self.is_stream

    @classmethod
    def wrap(cls, function: Callable[..., Any], *, known: Iterable[str], owner: str) -> Method:
        """The bound method, its arguments checked against the known names."""
        arguments = _named_arguments(function, known=known, owner=owner)
        name = getattr(function, "__name__", owner)
        convert = converter(function) if "payload" in arguments else None
        kind, call = _kind(function), _caller(function, arguments)
        if convert is None:
            return cls(name, function, arguments, kind, call)
        call = _converting_first(call) if kind == "generator" else _converting(call)
        return cls(name, function, arguments, kind, call, convert, fields_of(function))


@dataclass(frozen=True, slots=True)
class LoadedPredictor:
    """The user's object with the methods that routes can call."""

    instance: Any
    verbs: Mapping[str, Method]
    """By HTTP verb in upper case; POST is predict."""
    others: Mapping[str, Method]
    post_predict: Method | None = None

    @property
    def predict(self) -> Method | None:
        return self.verbs.get("POST")

    def hook(self, name: str) -> Callable[[], Any] | None:
        found = getattr(self.instance, name, None)
        return found if callable(found) else None


def load_class(settings: Settings, *, folder: Path) -> type:
    """The predictor's class, from the file that the settings name."""
    file = folder / settings.path
    if not file.is_file():
        raise StartFailure(f"{settings.path}: no such file in {folder}")
    entry = str(folder / settings.python_path) if settings.python_path else str(folder)
    if entry not in sys.path:
        sys.path.insert(0, entry)
    load_environment(folder, os.environ)
    offer_cortex_modules()
    if file.suffix in (".pickle", ".pkl"):
        return _unpickle(file)
    return find_class(_import_file(file), settings.class_name, where=settings.path)


def find_class(module: Any, name: str | None, *, where: str) -> type:
    """The named class, else the one with a well-known name, else the only one with a predict method."""
    classes = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    everything = {key: value for key, value in vars(module).items() if inspect.isclass(value)}
    if name:
        if name in everything:
            return everything[name]
        raise StartFailure(f"{where}: has no class {name}; it has {', '.join(classes) or 'none'}")
    well_known = [everything[each] for each in CLASS_NAMES if each in everything]
    candidates = well_known or [each for each in classes.values() if _can_predict(each)]
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(each.__name__ for each in candidates) or "none"
    raise StartFailure(
        f"{where}: expected one class with predict, found {found}; "
        f"call it PythonPredictor or set predictor.class_name"
    )


def create_predictor(
    kind: type, settings: Settings, *, offered: Mapping[str, Callable[[], object]]
) -> LoadedPredictor:
    """Construct the class with the offered values that its signature names."""
    where = f"{settings.path}: {kind.__name__}"
    arguments = _named_arguments(kind, known=offered, owner=f"{where}.__init__")
    for client in set(CLIENT_ARGUMENTS[settings.type][:1]) - set(arguments):
        if settings.type != "python" and "model_client" not in arguments:
            raise StartFailure(f"{where}.__init__: must take {client}, because of its type")
    instance = kind(**{name: offered[name]() for name in arguments})
    return wrap_predictor(instance, where=where)


def check_class(kind: type, settings: Settings) -> None:
    """Check the class as `create_predictor` does, without constructing it."""
    where = f"{settings.path}: {kind.__name__}"
    known = (*ALWAYS_OFFERED, *CLIENT_ARGUMENTS[settings.type])
    _named_arguments(kind, known=known, owner=f"{where}.__init__")
    wrap_predictor(object.__new__(kind), where=where)


def wrap_predictor(instance: Any, *, where: str) -> LoadedPredictor:
    """The object with its methods wrapped."""

    def wrapped(name: str, *also: str) -> Method | None:
        function = getattr(instance, name, None)
        if not callable(function):
            return None
        known = (*REQUEST_ARGUMENTS, *also)
        return Method.wrap(function, known=known, owner=f"{where}.{name}")

    verbs = {verb.upper(): found for verb in VERBS if (found := wrapped(f"handle_{verb}"))}
    if predict := wrapped("predict"):
        verbs.setdefault("POST", predict)
    # Of the class alone: that __init__ keeps a model under such a name does not offer a protocol.
    others = {
        name: found
        for name in OTHER_METHODS
        if hasattr(type(instance), name) and (found := wrapped(name, "payloads"))
    }
    if not verbs and not others:
        raise StartFailure(f"{where}: has no predict method")
    return LoadedPredictor(instance, verbs, others, wrapped("post_predict", "response"))


def _can_predict(kind: type) -> bool:
    return any(hasattr(kind, name) for name in ("predict", *(f"handle_{verb}" for verb in VERBS)))


def _import_file(file: Path) -> Any:
    if importlib.util.spec_from_file_location(MODULE, file) is None:
        raise StartFailure(f"{file.name}: is not a Python file")
    os.environ["PREDICTOR_MODULE_FILE"] = str(file.resolve())
    if IMPORTABLE not in sys.path:
        sys.path.append(IMPORTABLE)
    sys.modules.pop(MODULE, None)
    return importlib.import_module(MODULE)


def _unpickle(file: Path) -> type:
    """The class in a pickle of the project: trusted code, like a .py file."""
    for name in ("dill", "cloudpickle", "pickle"):
        with contextlib.suppress(ImportError):
            pickled = importlib.import_module(name).loads(file.read_bytes())
            if inspect.isclass(pickled):
                return pickled
            raise StartFailure(f"{file.name}: holds a {type(pickled).__name__}, not a class")
    raise AssertionError("pickle is part of Python")


def _named_arguments(
    function: Callable[..., Any], *, known: Iterable[str], owner: str
) -> tuple[str, ...]:
    """The known arguments that the signature names; `**kwargs` adds none."""
    known = tuple(known)
    named: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in known:
            named.append(parameter.name)
        else:
            raise StartFailure(
                f"{owner}: unknown argument {parameter.name!r}; the known ones are {', '.join(known)}"
            )
    return tuple(named)


def _kind(function: Callable[..., Any]) -> Kind:
    if inspect.isasyncgenfunction(function):
        return "async_generator"
    if inspect.isgeneratorfunction(function):
        return "generator"
    return "async" if inspect.iscoroutinefunction(function) else "sync"


def _converting(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def converting(request: Any) -> Any:
        _convert(request)
        return call(request)

    return converting


def _converting_first(call: Callable[[Any], Any]) -> Callable[[Any], Iterator[Any]]:
    """A generator is called on the loop, and its first step runs on a thread."""

    def converting(request: Any) -> Iterator[Any]:
        _convert(request)
        yield from call(request)

    return converting


def _convert(request: Any) -> None:
    convert, request.convert = request.convert, None
    if convert is not None:
        try:
            request.payload = convert(request.payload)
        except BaseException as error:  # also SystemExit, of code of the type's own
            raise as_failure(error) from error


def _caller(function: Callable[..., Any], arguments: tuple[str, ...]) -> Callable[[Any], Any]:
    if arguments == ("payload",):
        return lambda request: function(payload=request.payload)
    return lambda request: function(**{name: getattr(request, name) for name in arguments})
