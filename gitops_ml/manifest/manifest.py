"""The API manifest as written: without defaults, with current spellings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gitops_ml.documents.findings import Finding, Path, dotted
from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.yaml_reader import Document, Place
from gitops_ml.errors import Problem
from gitops_ml.manifest.cortex_differences import differences, has_cortex_name
from gitops_ml.manifest.cortex_spellings import Spelling, current_spelling, is_older, original
from gitops_ml.manifest.kinds import kind_findings, section_findings


class Places(Protocol):
    """An object that has the place of each path of its file: a `Document`."""

    def place(self, path: Path) -> Place: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One API of one file."""

    name: str
    kind: str
    body: Mapping[str, Any]
    """The fields as written, in current spelling, without ``name``, ``kind`` and ``environments``."""
    environments: Mapping[str, Mapping[str, Any]]
    """By environment, the fields that override ``body``."""
    submitted: Mapping[str, Any]
    """The API exactly as it was written."""
    file: str
    document: Places = field(repr=False, compare=False)
    index: int
    """The API's number in its file, from 0."""
    renamed: Mapping[Path, Path] = field(repr=False, default_factory=dict)
    """From a path in current spelling to its path in the file, if they differ."""
    wrong: frozenset[Path] = frozenset()
    """The fields that were left out because their shape is wrong; of such an API only problems are wanted."""

    @property
    def directory(self) -> str:
        """The folder of the file, which ``predictor.path`` and other paths are relative to."""
        return posixpath.dirname(self.file)

    def place(self, path: Path) -> Place:
        """Line and column of ``path`` in the file, or of the nearest key above it; in a dict ``(0, 0)``."""
        return self.document.place((self.index, *self.written_path(path)))

    def problem(self, finding: Finding, *, environment: str | None = None) -> Problem:
        """The finding with file, line, column and the API's name."""
        path = self.written_path(finding.path, environment=environment)
        overrides = self.environments.get(environment or "") or {}
        if path[:1] != ("environments",) and finding.path[:1] and finding.path[0] in overrides:
            # The fields of the API are wrong together with those of one environment only.
            finding = replace(finding, message=f"{finding.message} (in {environment})")
        place = self.document.place((self.index, *path))
        return _problem(self.file, place, self.name, replace(finding, path=path))

    def written_path(self, path: Path, *, environment: str | None = None) -> Path:
        """The path of ``path`` in the file: in an override, or by an older name."""
        if environment is not None:
            override = _depth(self.environments.get(environment, {}), path)
            if path and (override == len(path) or override > _depth(self.body, path)):
                path = ("environments", environment, *path)
        return original(self.renamed, path)


def parse_manifests(document: Document) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    """The APIs of a document, and every problem with its shape.

    An API with an error is not among the manifests; one with warnings is.
    """
    if any(problem.severity == "error" for problem in document.problems):
        return (), document.problems
    problems = list(document.problems)
    if not isinstance(document.data, list) or not document.data:
        problems.append(_not_a_list(document))
        return (), tuple(problems)
    manifests = []
    for index, submitted in enumerate(document.data):
        manifest, found = _parse(submitted, document, index)
        problems += found
        if not any(problem.severity == "error" for problem in found):
            manifests.append(manifest)
    read = tuple(m for m in manifests if m is not None)
    if has_cortex_name(document.file) or any(map(is_older, problems)):
        served = [each for each in read if each.kind == "RealtimeAPI"]
        bodies = ({**each.body, "kind": each.submitted.get("kind")} for each in served)
        problems += [served[at].problem(finding) for at, finding in differences(bodies)]
    return read, tuple(problems)


def parse_partly(document: Document) -> tuple[Manifest, ...]:
    """The APIs with errors in their shape, without the fields that are wrong.

    The other fields can be checked, so that one call reports the errors of every layer.
    """
    if any(problem.severity == "error" for problem in document.problems):
        return ()
    data = document.data if isinstance(document.data, list) else []
    found = (_partly(api, document, index) for index, api in enumerate(data))
    return tuple(manifest for manifest in found if manifest is not None)


def _partly(submitted: Any, document: Document, index: int) -> Manifest | None:
    if not isinstance(submitted, dict):
        return None
    spelling = current_spelling(submitted)
    findings = _findings(spelling, document, index)
    wrong = frozenset(each.path for each in findings if each.severity == "error")
    body = _without(spelling.body, wrong)
    if not wrong or () in wrong or not load_schema("api").definition("api").is_valid(body):
        return None
    if any(each.severity == "error" for each in kind_findings(body)):
        return None
    return replace(_manifest(replace(spelling, body=body), submitted, document, index), wrong=wrong)


def _without(value: Any, paths: Iterable[Path]) -> Any:
    """``value`` without what is at the paths; a list with a wrong item is wrong as a whole."""
    inner: dict[Any, list[Path]] = {}
    for path in paths:
        inner.setdefault(path[0] if path else None, []).append(path[1:])
    if not isinstance(value, Mapping):
        return value
    return {
        key: _without(each, inner.get(key, ()))
        for key, each in value.items()
        if not any(not path or isinstance(path[0], int) for path in inner.get(key, ()))
    }


def _parse(submitted: Any, document: Document, index: int) -> tuple[Manifest | None, list[Problem]]:
    if not isinstance(submitted, dict):
        finding = Finding((), "each item of the list must be an API: a mapping with name and kind")
        return None, [_problem(document.file, document.place((index,)), index, finding)]
    spelling = current_spelling(submitted)
    name = submitted.get("name")
    label = name if isinstance(name, str) and name else index
    problems = [
        _problem(
            document.file,
            document.place((index, *original(spelling.renamed, finding.path))),
            label,
            replace(finding, path=original(spelling.renamed, finding.path)),
        )
        for finding in _findings(spelling, document, index)
    ]
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    return _manifest(spelling, submitted, document, index), problems


def _findings(spelling: Spelling, document: Document, index: int) -> Iterator[Finding]:
    def written(path: Path) -> str | None:
        return document.written((index, *original(spelling.renamed, path)))

    yield from spelling.findings
    yield from section_findings(spelling.body)
    api = load_schema("api").definition("api")
    if api.is_valid(spelling.body):
        yield from kind_findings(spelling.body)
    else:
        yield from api.findings(spelling.body, written=written)


def _manifest(
    spelling: Spelling, submitted: Mapping[str, Any], document: Document, index: int
) -> Manifest:
    body = dict(spelling.body)
    return Manifest(
        name=body.pop("name"),
        kind=body.pop("kind"),
        environments={
            name: own or {} for name, own in (body.pop("environments", None) or {}).items()
        },
        body=body,
        submitted=submitted,
        file=document.file,
        document=document,
        index=index,
        renamed=spelling.renamed,
    )


def _problem(file: str, place: Place, label: str | int, finding: Finding) -> Problem:
    path = dotted((label, *finding.path))
    return Problem(file, *place, path, finding.message, finding.rule, finding.severity)


def _not_a_list(document: Document) -> Problem:
    if isinstance(document.data, dict):
        message = (
            "the file must be a list of APIs; write '- ' before the first key and indent the rest"
        )
    else:
        message = "the file must be a list with at least one API: - name: my-api"
    return Problem(document.file, *document.place(()), "", message)


def _depth(body: Any, path: Path) -> int:
    """How many steps of ``path`` exist in ``body``."""
    for depth, step in enumerate(path):
        is_item = isinstance(body, list) and isinstance(step, int) and step < len(body)
        if not is_item and not (isinstance(body, Mapping) and step in body):
            return depth
        body = body[step]
    return len(path)
