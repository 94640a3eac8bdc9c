"""Manifests in the memory: JSON; their file is read again only when a place in it is needed."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gitops_ml.errors import Problem
from gitops_ml.manifest.model import Manifest
from gitops_ml.workspace.manifest_files import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gitops_ml.documents.findings import Path as Steps
    from gitops_ml.documents.yaml_reader import Document, Place


@dataclass(frozen=True)
class UnreadDocument:
    """A document that another call read; it is read again only when a place in it is needed."""

    path: Path
    file: str

    @cached_property
    def _document(self) -> Document:
        return read_document(self.path, label=self.file)

    def place(self, path: Steps, *, key: bool = True) -> Place:
        """See `Document.place`."""
        return self._document.place(path, key=key)

    def written(self, path: Steps) -> str | None:
        """See `Document.written`."""
        return self._document.written(path)


def remembered_manifests(manifests: Iterable[Manifest], problems: Iterable[Problem]) -> str:
    """Manifests of one file, and the warnings about them, as JSON."""
    facts = [
        [m.name, m.kind, m.body, m.environments, m.submitted, m.index, list(m.renamed.items())]
        for m in manifests
    ]
    return json.dumps([facts, [astuple(problem) for problem in problems]])


def recalled_manifests(
    answer: str, *, file: Path, label: str
) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    """The manifests and problems that `remembered_manifests` was given for ``file``."""
    facts, problems = json.loads(answer)
    document = UnreadDocument(file, label)
    manifests = tuple(
        Manifest(
            name=name,
            kind=kind,
            body=body,
            environments=environments,
            submitted=submitted,
            file=label,
            document=document,
            index=index,
            renamed={_steps(old): _steps(new) for old, new in renamed},
        )
        for name, kind, body, environments, submitted, index, renamed in facts
    )
    return manifests, tuple(Problem(*problem) for problem in problems)


def _steps(path: Sequence[str | int]) -> Steps:
    return tuple(path)
