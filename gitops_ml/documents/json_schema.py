"""Check documents against the JSON Schemas of this package, with a sentence for each error, and fill in defaults.

`jsonschema-rs` answers "valid" or "not valid" quickly. `jsonschema`, whose import takes longer than the
check of a thousand manifests, is imported only where the answer is no, and explains it. A
property-based test compares the two.

A property that is absent or null gets its schema's ``default``; an object that is there, or that a
default makes, is filled in turn, and so are the items of lists. ``default: {}`` on a section thus
means "always there, with the defaults of its own properties". What the schema marks as
``x-partial`` (an environment's overrides) stays as it is: it is laid over something else first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from gitops_ml.documents.findings import Finding, Path
from gitops_ml.documents.schema_errors import compile_pattern, sentences
from gitops_ml.system.resources import schema_text

Fill = Callable[[Any], Any]


def compile_defaults(schema: Mapping[str, Any]) -> Fill:
    """The function that returns a value with the defaults of ``schema`` filled in.

    The value itself is not changed. Its free-form parts and the defaults are shared with the
    result, which callers must not change.
    """
    return _Compiler(schema).fill(schema) or (lambda value: value)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def fill(self, schema: Any) -> Fill | None:
        """The function that fills a value of ``schema``; ``None`` if it has no defaults."""
        schema = dereferenced(self._root, schema)
        if schema.get("x-partial"):
            return None
        properties = {
            k: dereferenced(self._root, v) for k, v in schema.get("properties", {}).items()
        }
        fills = {k: fill for k, v in properties.items() if (fill := self.fill(v))}
        defaults = {k: v["default"] for k, v in properties.items() if "default" in v}
        if fills or defaults:
            return _object(defaults, fills)
        if isinstance(schema.get("additionalProperties"), dict):
            each = self.fill(schema["additionalProperties"])
            return _values(each) if each else None
        if "items" in schema:
            each = self.fill(schema["items"])
            return _items(each) if each else None
        return None


def dereferenced(root: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """A schema, merged over the one that its ``$ref`` names."""
    if not isinstance(schema, dict):
        return {}
    if "$ref" not in schema:
        return schema
    target = dereferenced(root, resolve_reference(root, schema["$ref"]))
    properties = dict(target.get("properties", {}))
    for name, own in schema.get("properties", {}).items():
        properties[name] = {**properties.get(name, {}), **own}
    merged = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return {**merged, "properties": properties} if properties else merged


def _object(defaults: Mapping[str, Any], fills: Mapping[str, Fill]) -> Fill:
    made = {
        k: fills[k](v) if k in fills and isinstance(v, dict | list) else v
        for k, v in defaults.items()
    }

    def fill(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        filled = {k: fills[k](v) if k in fills else v for k, v in value.items()}
        for name, default in made.items():
            if filled.get(name) is None:
                filled[name] = default
        return filled

    return fill


def _values(each: Fill) -> Fill:
    return lambda value: (
        {k: each(v) for k, v in value.items()} if isinstance(value, dict) else value
    )


def _items(each: Fill) -> Fill:
    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            # A single item of a document that is a list: one API of a manifest.
            return each(value)
        return [each(item) for item in value] if isinstance(value, list) else value

    return fill


def resolve_reference(root: Mapping[str, Any], reference: str) -> Any:
    """The part of ``root`` that a local reference (``#/$defs/name``) names."""
    if not reference.startswith("#/"):
        raise NotImplementedError(f"{reference!r} is not a reference inside of the schema")
    found: Any = root
    for step in reference[2:].split("/"):
        found = found[step]
    return found


if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Check = Callable[[Any], bool]

_WHOLE = "x-whole"
_DATA = frozenset({"const", "default", "enum", "examples"})


class Schema:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._definitions: dict[str, Schema] = {}

    def definition(self, name: str) -> Schema:
        """One of the schema's ``$defs`` as a separate schema."""
        if name not in self._definitions:
            definition = {"$defs": self.document["$defs"], **self.document["$defs"][name]}
            self._definitions[name] = Schema(definition)
        return self._definitions[name]

    def is_valid(self, data: Any) -> bool:
        try:
            return self._check(data)
        except ValueError:  # not a JSON value, which a notebook's dict may hold
            return not any(True for _ in self._validator.iter_errors(data))

    def findings(
        self, data: Any, *, written: Callable[[Path], str | None] = lambda _path: None
    ) -> Iterator[Finding]:
        """Every error in the shape of ``data``.

        ``written`` returns the text of a scalar in the file, where there is a file.
        """
        if not self.is_valid(data):
            yield from sentences(self._validator.iter_errors(data), written=written)

    def with_defaults(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``body`` with the defaults of the schema for each field that it does not set."""
        filled: dict[str, Any] = self._fill(body)
        return filled

    @cached_property
    def _check(self) -> Check:
        return compile_check(self.document)

    @cached_property
    def _fill(self) -> Fill:
        return compile_defaults(self.document)

    @cached_property
    def _validator(self) -> Validator:
        from jsonschema import Draft202012Validator, ValidationError
        from jsonschema.validators import extend

        def pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
            if isinstance(value, str) and not compile_pattern(pattern).search(value):
                yield ValidationError(f"{value!r} does not match {pattern!r}")

        types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
        # The library's stubs do not type what makes its classes.
        make: Any = extend
        ours = make(Draft202012Validator, {"pattern": pattern}, type_checker=types)
        validator: Validator = ours(self.document)
        return validator


def _is_integer(_checker: object, value: object) -> bool:
    """Whether a value is a whole number; unlike in JSON Schema, 1.0 is not, for it stays 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


@lru_cache
def load_schema(name: str) -> Schema:
    """The compiled schema ``api``, ``project`` or ``user``."""
    return Schema(with_partial_schemas(json.loads(schema_text(name))))


def compile_check(schema: Mapping[str, Any]) -> Check:
    """The function that answers whether a value is valid under ``schema``; it reads JSON values only.

    Raises:
        ValueError: ``schema`` is not a JSON Schema, or refers to another document.
    """
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        _with_whole_numbers(schema), keywords={_WHOLE: _Whole}, retriever=_refuse
    ).is_valid


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not read: a schema refers to itself only")


class _Whole:
    """The keyword that refuses 1.0, which the type "integer" of JSON Schema accepts."""

    def __init__(self, _parent: object, _value: object, _path: object) -> None:
        pass

    def validate(self, value: object) -> None:
        if isinstance(value, float):
            raise ValueError(f"{value} is not a whole number")


def _with_whole_numbers(schema: Any) -> Any:
    """``schema`` with the keyword `_Whole` beside each type "integer"."""
    if isinstance(schema, list):
        return [_with_whole_numbers(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    copied = {k: v if k in _DATA else _with_whole_numbers(v) for k, v in schema.items()}
    types = schema.get("type")
    names = types if isinstance(types, list) else [types]
    return {**copied, _WHOLE: True} if "integer" in names and "number" not in names else copied


_PARTIAL = "x-partial"


def with_partial_schemas(root: Mapping[str, Any]) -> dict[str, Any]:
    """``root`` with copies in place of the references of its partial schemas.

    A schema that is marked ``x-partial`` refers to the sections of the whole, such as an environment's overrides:
    in the copies each field, and each value of a mapping, may be null or absent. Items of lists are the same, for
    a list is replaced as a whole.
    """

    def walk(schema: Any) -> Any:
        if isinstance(schema, list):
            return [walk(each) for each in schema]
        if not isinstance(schema, Mapping):
            return schema
        if schema.get(_PARTIAL) and "properties" in schema:
            return {**schema, "properties": _nullable(root, schema)["properties"]}
        return {k: v if k in _DATA else walk(v) for k, v in schema.items()}

    return {key: walk(value) for key, value in root.items()}


def _nullable(root: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without references in which each field may be null or absent."""
    made = {k: v for k, v in dereferenced(root, schema).items() if k != "required"}
    if "properties" in made:
        made["properties"] = {k: _nullable(root, v) for k, v in made["properties"].items()}
    if isinstance(values := made.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _nullable(root, values)
    types = made.get("type")
    if types is not None:
        made["type"] = list(
            dict.fromkeys([*([types] if isinstance(types, str) else types), "null"])
        )
    if "enum" in made:
        made["enum"] = [*made["enum"], *([] if None in made["enum"] else [None])]
    return made
