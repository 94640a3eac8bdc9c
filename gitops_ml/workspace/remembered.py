"""What an earlier call read and checked: each item's value and problems, as JSON in the memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from gitops_ml.documents.findings import Path as Steps
from gitops_ml.documents.yaml_reader import Document, Place
from gitops_ml.errors import Problem, Problems
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.manifest_files import label, read_document

Item = TypeVar("Item")
Value = TypeVar("Value")


def remembered(
    memory: Memory,
    wanted: Iterable[tuple[bytes, Item]],
    *,
    make: Callable[[Item], tuple[Value, Sequence[Problem]]],
    facts: Callable[[Value], Any],
    of_facts: Callable[[Item, Any], Value],
) -> list[tuple[Value, Sequence[Problem]]]:
    """The value and the problems of each item, made where the memory has no answer for its key.

    ``facts`` of a value are what JSON can hold, and ``of_facts`` is the inverse. Errors are not
    remembered, and neither is an item whose key is empty.
    """
    wanted = list(wanted)
    known = memory.recall(key for key, _ in wanted)
    answers: dict[bytes, str] = {}
    found: list[tuple[Value, Sequence[Problem]]] = []
    for key, item in wanted:
        if key in known:
            kept, problems = json.loads(known[key])
            found.append((of_facts(item, kept), [Problem(*each) for each in problems]))
        else:
            value, made = make(item)
            found.append((value, made))
            if key and not Problems.of(made).errors:
                answers[key] = json.dumps([facts(value), [astuple(each) for each in made]])
    memory.keep(answers)
    return found


@dataclass(frozen=True, eq=False)
class UnreadDocument:
    """A document that another call read; it is read again only when a place in it is needed."""

    path: Path

    def place(self, path: Steps) -> Place:
        """See `Document.place`."""
        return _document(self).place(path)


@lru_cache(maxsize=8)
def _document(unread: UnreadDocument) -> Document:
    """Places are asked for file by file, and a document takes 30 times the memory of its text."""
    return read_document(unread.path, label=label(unread.path))


_KEPT = ("name", "kind", "body", "environments", "submitted", "index")


def manifest_facts(manifests: Iterable[Manifest]) -> list[Any]:
    """Manifests of one file."""
    return [
        [*(getattr(each, name) for name in _KEPT), list(each.renamed.items())] for each in manifests
    ]


def manifests_of_facts(file: Path, facts: Iterable[Any]) -> tuple[Manifest, ...]:
    """The manifests of ``file`` that `manifest_facts` was given."""
    document = UnreadDocument(file)
    return tuple(
        Manifest(
            **dict(zip(_KEPT, kept, strict=True)),
            file=label(file),
            document=document,
            renamed={tuple(old): tuple(new) for old, new in renamed},
        )
        for *kept, renamed in facts
    )
