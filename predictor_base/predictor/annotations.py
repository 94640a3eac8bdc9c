"""Derive JSON Schema from a predictor's source, without importing it.

The image's label and the check in CI must not import the user's code: it would need the user's
dependencies, and run the module. A type that the source alone does not define is any JSON.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

Schema = dict[str, Any]

_PLAIN: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "Mapping": {"type": "object"},
    "list": {"type": "array", "items": {}},
    "List": {"type": "array", "items": {}},
    "tuple": {"type": "array", "items": {}},
    "set": {"type": "array", "items": {}},
    "Sequence": {"type": "array", "items": {}},
    "ndarray": {"type": "array", "items": {}},
    "DataFrame": {"type": "array", "items": {"type": "object"}},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "UUID": {"type": "string", "format": "uuid"},
}
_LISTS = {"list", "List", "Sequence", "Iterable", "set", "frozenset", "tuple", "Tuple"}
_DICTS = {"dict", "Dict", "Mapping"}
_STREAMS = {"Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "Iterable", "AsyncIterable"}
_LIMITS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}


class Annotations:
    """The classes of one module, and the schema of any annotation in it."""

    def __init__(self, module: ast.Module) -> None:
        self.classes = {each.name: each for each in module.body if isinstance(each, ast.ClassDef)}
        self._aliases = {
            target.id: each.value
            for each in module.body
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        self.components: dict[str, Schema] = {}
        """Schemas of the named types found so far."""

    def schema(self, node: ast.expr | None) -> Schema:
        """The schema of the annotation."""
        match node:
            case None:
                return {}
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str(text)):
                return self.schema(ast.parse(text, mode="eval").body)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return _any_of(self.schema(left), self.schema(right))
            case ast.Subscript(value=value, slice=inner):
                return self._generic(_name(value), inner)
            case ast.Name() | ast.Attribute():
                return self._named(_name(node))
        return {}

    def _generic(self, name: str, inner: ast.expr) -> Schema:
        arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name == "Optional":
            return _any_of(self.schema(inner), {"type": "null"})
        if name == "Union":
            return _any_of(*(self.schema(each) for each in arguments))
        if name == "Literal":
            return {"enum": [ast.literal_eval(each) for each in arguments]}
        if name in ("Annotated", "Required", "NotRequired", "Final", "ClassVar"):
            return self.schema(arguments[0]) | _field_facts(arguments[1:])
        if name in _DICTS:
            return {"type": "object", "additionalProperties": self.schema(arguments[-1])}
        if name in _LISTS or name in _STREAMS:
            return {"type": "array", "items": self.schema(arguments[0])}
        return self._named(name)

    def _named(self, name: str) -> Schema:
        if name in self.classes:
            if name not in self.components:
                self.components[name] = {}  # it may refer to itself
                self.components[name] = self._class_schema(self.classes[name])
            return {"$ref": f"#/components/schemas/{name}"}
        if name in self._aliases:
            return self.schema(self._aliases.pop(name))
        return dict(_PLAIN.get(name, {}))

    def _class_schema(self, node: ast.ClassDef) -> Schema:
        described = {"description": text} if (text := ast.get_docstring(node)) else {}
        if any("Enum" in _name(base) for base in node.bases):
            return {"enum": list(_constants(node)), **described}
        if not _is_record(node):
            known = {n for base in node.bases if (n := _name(base)) in self.classes}
            return {"allOf": [self._named(n) for n in sorted(known)]} if known else {}
        properties: dict[str, Schema] = {}
        required: list[str] = []
        is_total = not any(
            each.arg == "total" and literal(each.value) is False for each in node.keywords
        )
        for each in self._fields(node):
            assert isinstance(each.target, ast.Name)
            facts, has_default = _default(each.value)
            properties[each.target.id] = self.schema(each.annotation) | facts
            if not has_default and _name(each.annotation) != "NotRequired" and is_total:
                required.append(each.target.id)
        schema: Schema = {"type": "object", "properties": properties, **described}
        if required:
            schema["required"] = required
        if not self._is_model(node):
            schema["additionalProperties"] = False  # as in `typed`; pydantic ignores them
        return schema

    def _is_model(self, node: ast.ClassDef) -> bool:
        names = {_name(base) for base in node.bases}
        parents = (self.classes[name] for name in names & self.classes.keys())
        return "BaseModel" in names or any(self._is_model(each) for each in parents)

    def _fields(self, node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
        for base in node.bases:
            if (parent := self.classes.get(_name(base))) is not None:
                yield from self._fields(parent)
        for each in node.body:
            match each:
                case ast.AnnAssign(target=ast.Name()) if _name(each.annotation) != "ClassVar":
                    yield each


def example(schema: Schema, components: dict[str, Schema], depth: int = 0) -> Any:
    """An example value that the schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example(components.get(name, {}), components, depth + 1) if depth < 8 else {}
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "allOf"):
        if key in schema:
            return example(schema[key][0], components, depth + 1)
    match schema.get("type"):
        case "object":
            found = schema.get("properties", {})
            return {name: example(each, components, depth + 1) for name, each in found.items()}
        case "array":
            return [example(schema.get("items", {}), components, depth + 1)] if depth < 8 else []
        case "integer":
            return schema.get("minimum", 0)
        case "number":
            return schema.get("minimum", 0.0)
        case "string":
            return "text"
        case "boolean":
            return False
    return {} if depth == 0 else None


def literal(node: ast.expr | None) -> Any:
    """The value of a literal; `...` for any other expression."""
    try:
        return ast.literal_eval(node) if node is not None else ...
    except ValueError:
        return ...


def is_stream(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Subscript) and _name(node.value) in _STREAMS


def _name(node: ast.expr) -> str:
    """The last part of a possibly dotted, possibly subscripted name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value) | ast.Call(func=value):
            return _name(value)
    return ""


def _is_record(node: ast.ClassDef) -> bool:
    """Whether the class's annotated names are its JSON fields: a model, a dataclass or a TypedDict."""
    bases = {_name(each) for each in node.bases}
    decorators = {_name(each) for each in node.decorator_list}
    kinds = {"BaseModel", "TypedDict", "NamedTuple", "RootModel"}
    has_fields = any(isinstance(each, ast.AnnAssign) for each in node.body)
    return bool(bases & kinds or "dataclass" in decorators or (bases and has_fields))


def _constants(node: ast.ClassDef) -> Iterator[Any]:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            value = literal(each.value)
            yield each.targets[0].id.lower() if value is ... else value


def _default(node: ast.expr | None) -> tuple[Schema, bool]:
    """The schema keywords of a field's value, and whether it is a default."""
    if node is None:
        return {}, False
    if isinstance(node, ast.Call):
        facts = _field_facts([node])
        named = {each.arg for each in node.keywords}
        has_default = "default" in facts or bool(named & {"default", "default_factory"})
        return facts, has_default
    value = literal(node)
    return ({} if value is ... else {"default": value}), True


def _field_facts(nodes: Iterable[ast.expr]) -> Schema:
    """The schema keywords of pydantic's Field, or of a string in Annotated."""
    facts: Schema = {}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            facts["description"] = node.value
        if not isinstance(node, ast.Call):
            continue
        first = literal(node.args[0]) if node.args else ...
        if first is not ...:
            facts["default"] = first
        for each in node.keywords:
            value = literal(each.value)
            key = _LIMITS.get(str(each.arg), str(each.arg))
            if value is not ... and key in (*_LIMITS.values(), "description", "title", "default"):
                facts[key] = value
    return facts


def _any_of(*schemas: Schema) -> Schema:
    flat = [inner for each in schemas for inner in each.get("anyOf", [each])]
    return {} if {} in flat else {"anyOf": flat}
