"""The OpenAPI document of a predictor, from its source alone.

`python -m predictor_base.predictor.schema predictor.py` prints it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictor_base.predictor.annotations import Annotations, Schema, example, is_stream, literal
from predictor_base.predictor.loader import CLASS_NAMES, VERBS

if TYPE_CHECKING:
    from predictor_base.settings import Example

_ERRORS = {
    "400": "The body cannot be understood.",
    "413": "The body is too large.",
    "422": "The body is not of the payload's type.",
    "429": "Too many requests wait; see Retry-After.",
    "500": "The predictor failed.",
    "503": "The server is loading or draining; see Retry-After.",
    "504": "The prediction took too long.",
}
_DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "string": "BYTES"}


@dataclass(frozen=True, slots=True)
class Signature:
    """What one method takes and returns."""

    verb: str
    summary: str
    takes_payload: bool
    payload: Schema
    response: Schema
    streams: bool


@dataclass(frozen=True, slots=True)
class Description:
    """The API of a predictor, read from its source."""

    title: str
    summary: str
    methods: tuple[Signature, ...]
    others: tuple[str, ...]
    """Methods besides predict, by name."""
    components: dict[str, Schema]
    example: Any
    """An example payload."""
    response_example: Any = None
    """What predict returns for it; None where that is not known."""

    def with_example(self, example: Example) -> Description:
        """The API with the example of the settings."""
        response = json.loads(example.response or "null")
        return replace(self, example=json.loads(example.request), response_example=response)

    def tensors(self) -> tuple[list[Any], list[Any]]:
        """Inputs and outputs in the form of the Open Inference Protocol's metadata."""
        for each in self.methods:
            if each.verb == "post":
                return self._fields(each.payload), self._fields(each.response)
        return [], []

    def _fields(self, schema: Schema) -> list[Any]:
        if "$ref" in schema:
            schema = self.components.get(schema["$ref"].rpartition("/")[2], {})
        found = []
        for name, each in schema.get("properties", {}).items():
            levels, inner = 0, each
            while inner.get("type") == "array":
                levels, inner = levels + 1, inner.get("items", {})
            shape = [-1] * levels or [1]
            datatype = _DATATYPES.get(str(inner.get("type")), "BYTES")
            found.append({"name": name, "datatype": datatype, "shape": shape})
        return found


def describe(file: Path, class_name: str | None = None) -> Description:
    """The API of the predictor in this file; for an unreadable file, that of a plain predict."""
    try:
        module = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        module = ast.parse("class Predictor:\n    def predict(self, payload): ...")
    annotations = Annotations(module)
    node = _find_class(annotations, class_name)
    functions = {
        each.name: each
        for each in (node.body if node else [])
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names = {"predict": "post", **{f"handle_{verb}": verb for verb in VERBS}}
    methods = tuple(
        _signature(functions[name], verb, annotations)
        for name, verb in names.items()
        if name in functions
    )
    return Description(
        title=node.name if node else "predictor",
        summary=(ast.get_docstring(node) if node else None) or "",
        methods=methods,
        others=tuple(sorted(functions.keys() - names.keys() - {"__init__"})),
        components=annotations.components,
        example=_example(file, node, methods, annotations.components),
    )


def openapi(description: Description, *, name: str = "", version: str = "") -> Schema:
    """The OpenAPI 3.1 document of a server of this predictor."""
    paths: dict[str, Any] = {
        path: {each.verb: _operation(each, path, description) for each in description.methods}
        for path in ("/predict", "/")
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name or description.title,
            "version": version or "1",
            "description": description.summary,
        },
        "paths": paths | _paths_of_the_server(),
        "components": {"schemas": {**description.components, "Error": _ERROR}},
    }


def _paths_of_the_server() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for path, (summary, media) in {
        "/livez": ("Whether the process is well.", "application/json"),
        "/readyz": ("Whether it may have traffic.", "application/json"),
        "/info": ("Which deployment this is.", "application/json"),
        "/metrics": ("Metrics for Prometheus.", "text/plain"),
    }.items():
        answers = {"200": {"description": summary, "content": {media: {"schema": {}}}}}
        if path in ("/livez", "/readyz"):
            answers["503"] = {"description": "No.", "content": {media: {"schema": {}}}}
        operation = path.strip("/")
        paths[path] = {"get": {"summary": summary, "operationId": operation, "responses": answers}}
    return paths


def schema_hash(document: Schema) -> str:
    """A short fingerprint of the document's paths and types."""
    relevant = {key: document[key] for key in ("paths", "components")}
    text = json.dumps(relevant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_ERROR: Schema = {"type": "object", "required": ["error"], "properties": {"error": {}}}


def _find_class(annotations: Annotations, name: str | None) -> ast.ClassDef | None:
    classes = annotations.classes
    wanted = [name] if name else [*CLASS_NAMES, *classes]
    for each in wanted:
        node = classes.get(each)
        methods = {getattr(item, "name", "") for item in node.body} if node else set()
        if node and (each in (name, *CLASS_NAMES) or "predict" in methods):
            return node
    return None


def _signature(
    function: ast.FunctionDef | ast.AsyncFunctionDef, verb: str, annotations: Annotations
) -> Signature:
    arguments = {each.arg: each for each in function.args.args + function.args.kwonlyargs}
    payload = arguments.get("payload")
    doc = ast.get_docstring(function) or ""
    yields = any(isinstance(each, ast.Yield | ast.YieldFrom) for each in ast.walk(function))
    return Signature(
        verb=verb,
        summary=doc.partition("\n")[0],
        takes_payload=payload is not None,
        payload=annotations.schema(payload.annotation if payload else None),
        response=annotations.schema(function.returns),
        streams=yields or is_stream(function.returns),
    )


def _operation(method: Signature, path: str, description: Description) -> dict[str, Any]:
    responses: dict[str, Any] = {
        code: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for code, text in _ERRORS.items()
    }
    media = "text/event-stream" if method.streams else "application/json"
    kinds: dict[str, Any] = {media: {"schema": {} if method.streams else method.response}}
    if method.verb == "post" and description.response_example is not None:
        kinds[media]["example"] = description.response_example
    if not method.response and not method.streams:
        kinds |= {"text/plain": {"schema": {}}, "application/octet-stream": {"schema": {}}}
    responses["200"] = {"description": "What the predictor returns.", "content": kinds}
    operation: dict[str, Any] = {
        "summary": method.summary or "Predict.",
        "operationId": f"{method.verb}{path.strip('/') and '_' + path.strip('/')}",
        "responses": responses,
    }
    if method.takes_payload and method.verb != "get":
        content = {"schema": method.payload, "example": description.example}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _example(
    file: Path,
    node: ast.ClassDef | None,
    methods: tuple[Signature, ...],
    components: dict[str, Schema],
) -> Any:
    """The class's `example`, else Cortex's sample.json, else one derived from the payload's type."""
    for each in node.body if node else ():
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            value = literal(each.value)
            if each.targets[0].id == "example" and value is not ...:
                return value
    sample = file.with_name("sample.json")
    try:
        return json.loads(sample.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    return example(methods[0].payload, components) if methods else {}


def main(arguments: list[str] | None = None) -> int:
    """Print the OpenAPI document of a predictor's file."""
    parser = argparse.ArgumentParser(prog="predictor_base.predictor.schema", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--class-name")
    parser.add_argument("--name", default="")
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        print(f"{options.file}: no such file", file=sys.stderr)
        return 1
    document = openapi(describe(options.file, options.class_name), name=options.name)
    print(json.dumps(document, indent=2, sort_keys=True, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
