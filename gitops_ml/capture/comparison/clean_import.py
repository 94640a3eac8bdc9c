"""What runs in a clean interpreter: import a package, then write the portrait of its class or ask it its example."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import threading
import traceback
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops_ml.capture.comparison.portrait import Surroundings, portrait

MODULE = "cortex_predictor"
"""The name under which the runtime imports the file of a predictor."""
JOB = "GITOPS_ML_JOB"


def main() -> int:
    job = json.loads(os.environ.pop(JOB))
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        namespace = imported(folder / job["path"])
    except BaseException as error:  # noqa: BLE001 - also what a module's `sys.exit` raises
        print(users_part(error), file=sys.stderr)
        return 1
    own, of_place = frozenset(job["own"]), frozenset(job["of_place"])
    root = namespace[job["name"]]
    # Another module's, if the file only imports it.
    owner = root.__module__
    for module in job["needed"]:
        with contextlib.suppress(Exception):  # its models import it, if they can
            importlib.import_module(module)
    place = Surroundings(
        owner, vars(sys.modules[owner]), own, of_place=of_place, folder=str(folder),
        process=tuple(job["process"]), patched=tuple(job["patched"]), is_package=True,
    )  # fmt: skip
    nodes = portrait(root, place)
    for each in sorted(set(job["settled"]) & sys.modules.keys()):
        nodes[0].edges.append((("loaded", each), 0))
    Path(job["out"]).write_text(json.dumps([node.fields for node in nodes]))
    return 0


def imported(file: Path) -> dict[str, Any]:
    """The names of the file, which is imported as the runtime imports it."""
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None and spec.loader is not None, "it is a Python file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return vars(module)


def users_part(error: BaseException) -> str:
    """The end of a traceback, without the frames of the import."""
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if "importlib" not in each.filename and Path(each.filename).parent != Path(__file__).parent
    ]
    return "".join(
        (*traceback.format_list(frames[-5:]), *traceback.format_exception_only(error))
    ).strip()


_OF_A_REQUEST: Mapping[str, Any] = {
    "query_params": {}, "headers": {}, "request_id": "example", "batch_id": "example",
}  # fmt: skip
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class CannotAsk(Exception):
    """The class needs something that only a replica has."""


def answer(kind: type, config: Mapping[str, Any], payload: Any) -> str:
    """The answer of a new instance as JSON.

    Raises:
        CannotAsk: its constructor or `predict` takes something that only a replica has.
    """
    offered = {"config": copy.deepcopy(dict(config)), "job_spec": None}
    predictor = kind(**_offered(kind, offered))
    function: Any = predictor.predict
    request = {**_OF_A_REQUEST, "payload": _typed(function, copy.deepcopy(payload))}
    return as_json(_finished(function(**_offered(function, request))))


def _offered(function: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """The offered values that a signature names."""
    parameters = inspect.signature(function).parameters.values()
    names = [
        each.name
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and (each.name in offered or each.default is each.empty)
    ]
    if unknown := [name for name in names if name not in offered]:
        raise CannotAsk(f"it takes {', '.join(unknown)}, which only a replica has")
    return {name: offered[name] for name in names}


def _finished(result: Any) -> Any:
    """The result of a coroutine, or the items of a stream."""
    if inspect.isgenerator(result):
        return list(result)
    if inspect.isasyncgen(result):
        return _in_a_loop(_items(result))
    return _in_a_loop(result) if inspect.isawaitable(result) else result


async def _items(stream: Any) -> list[Any]:
    return [each async for each in stream]


def _in_a_loop(awaitable: Any) -> Any:
    """The result, awaited on a thread: a notebook has a loop that runs already."""
    import asyncio

    found: list[Any] = []
    failed: list[BaseException] = []

    async def finished() -> Any:
        return await awaitable

    def work() -> None:
        try:
            found.append(asyncio.run(finished()))
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


# -- values ----------------------------------------------------------------------------------------


def _typed(function: Any, payload: Any) -> Any:
    """The payload as the type that the annotation names, as the runtime converts it."""
    try:
        annotation = typing.get_type_hints(function).get("payload")
    except Exception:  # noqa: BLE001 - an annotation may name anything
        return payload
    return _built(payload, annotation)


def _built(value: Any, annotation: Any) -> Any:
    if hasattr(annotation, "model_validate"):
        return annotation.model_validate(value)
    if dataclasses.is_dataclass(annotation) and isinstance(value, Mapping):
        hints = typing.get_type_hints(annotation)
        held: Any = annotation
        return held(**{name: _built(each, hints.get(name)) for name, each in value.items()})
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is list and isinstance(value, list):
        return [_built(each, arguments[0]) for each in value]
    return value


def as_json(value: Any) -> str:
    """A value as a client sees it; what JSON cannot say is shown as its text."""
    return json.dumps(value, default=_plain, sort_keys=True)


def _plain(value: Any) -> Any:
    for name in ("model_dump", "tolist", "to_dict"):
        if callable(method := getattr(value, name, None)):
            return method()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return _ADDRESS.sub("", repr(value))


def answer_example() -> int:
    """Ask the class of a package, in a clean interpreter."""
    job = json.loads(os.environ.pop(JOB))
    sys.path.insert(0, str(Path.cwd()))
    try:
        namespace = imported(Path(job["path"]).absolute())
        text = answer(namespace[job["name"]], job["config"], job["payload"])
    except BaseException as error:  # noqa: BLE001 - whatever the class does
        print(users_part(error), file=sys.stderr)
        return 1
    Path(job["out"]).write_text(text)
    return 0
