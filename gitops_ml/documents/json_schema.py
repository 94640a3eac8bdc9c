"""Check documents against the JSON Schemas of this package, with a sentence for each error.

`jsonschema-rs` answers "valid" or "not valid" quickly. `jsonschema`, whose import takes longer than the
check of a thousand manifests, is imported only where the answer is no, and explains it. A
property-based test compares the two.
"""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.defaults import Fill, compile_defaults
from gitops_ml.documents.fast_check import Check, compile_check, compile_pattern, is_integer
from gitops_ml.documents.schema_errors import sentences
from gitops_ml.system.resources import schema_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema.protocols import Validator

    from gitops_ml.documents.findings import Finding, Path


class Schema:
    """One schema document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._definitions: dict[str, Schema] = {}

    @classmethod
    def parse(cls, text: str | bytes) -> Schema:
        """The schema whose JSON text this is."""
        return cls(json.loads(text))

    def definition(self, name: str) -> Schema:
        """One of the schema's ``$defs`` as a schema of its own."""
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
    return is_integer(value)


@lru_cache
def load_schema(name: str) -> Schema:
    """The compiled schema ``api``, ``project`` or ``user``."""
    return Schema.parse(schema_text(name))
