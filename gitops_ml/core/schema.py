"""A JSON Schema of ours, compiled: is a document valid, and which sentence says what is wrong.

Checking a thousand manifests has to take a moment, and the `jsonschema` library alone takes twenty
times as long as reading the YAML. So the schema is compiled once into closures that only answer
"valid or not" for the keywords that we use; `jsonschema` is imported, and explains, only where the
answer is no. A property-based test holds the two together.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gitops_ml.core.defaults import Fill, compile_defaults
from gitops_ml.core.fast_check import Check, compile_check, compile_pattern
from gitops_ml.core.sentences import sentences

if TYPE_CHECKING:
    from gitops_ml.core.findings import Finding, Path
    from collections.abc import Callable, Iterator, Mapping
    from jsonschema.protocols import Validator


class Schema:
    """One schema document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    @classmethod
    def parse(cls, text: str | bytes) -> Schema:
        """The schema whose JSON text this is."""
        return cls(json.loads(text))

    def definition(self, name: str) -> Schema:
        """One of the schema's ``$defs`` as a schema of its own."""
        return Schema({"$defs": self.document["$defs"], **self.document["$defs"][name]})

    def is_valid(self, data: Any) -> bool:
        return self._check(data)

    def findings(
        self, data: Any, *, written: Callable[[Path], str | None] = lambda _path: None
    ) -> Iterator[Finding]:
        """Everything that is wrong with the shape of ``data``, in our own sentences.

        ``written`` tells how a scalar stands in the file, where there is a file.
        """
        if not self._check(data):
            yield from sentences(self._validator.iter_errors(data), written=written)

    def with_defaults(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``body`` with each default of the schema filled in where ``body`` says nothing."""
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

        ours: type[Validator] = extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-untyped-call] # the library's stubs lag behind it
        return ours(self.document)
