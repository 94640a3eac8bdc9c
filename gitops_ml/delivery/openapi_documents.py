"""The OpenAPI documents of a release's images, before and after a change.

The document of an image that is planned here is read from its source. That of any other is in a label, which the
build wrote; only a registry has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from gitops_ml.documents.findings import few
from gitops_ml.errors import GitopsMlError
from gitops_ml.gitops import layout
from gitops_ml.http.json_reader import BadJson, read_json
from gitops_ml.image.attestations import read_openapi
from gitops_ml.image.contents import open_image
from gitops_ml.image.planner import PlannedImage
from gitops_ml.image.recipe import OPENAPI_LABEL, PredictorSource
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.policy.rule import Fleet, Subject
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key

Document = dict[str, Any]
_AT_A_TIME = 8


@dataclass(frozen=True, kw_only=True)
class OpenapiDocuments:
    """Reads the documents of the images of changed releases, each image once."""

    registry: OciRegistry | None
    """`None`: no registry is to be asked, and no document before a change is known."""
    memory: Memory
    warn: Callable[[str], None]
    planned: Mapping[str, PlannedImage] = field(default_factory=dict)
    """Images of this call by the directories of their releases."""

    def with_documents(self, fleet: Fleet) -> Fleet:
        """The releases whose image changes with the documents of both images, as far as they are known."""
        changed = [each for each in fleet.subjects if _has_new_code(each)]
        if self.registry is None or not changed:
            return fleet
        with ThreadPoolExecutor(max_workers=min(_AT_A_TIME, len(changed))) as pool:
            found = dict(zip(map(_place, changed), pool.map(self._documents, changed), strict=True))
        unknown = [place for place, (before, after) in found.items() if after and before is None]
        if unknown:
            self.warn(_unknown(unknown))
        subjects = (_with(each, found.get(_place(each))) for each in fleet.subjects)
        return replace(fleet, subjects=tuple(subjects))

    def _documents(self, subject: Subject) -> tuple[Document | None, Document | None]:
        assert subject.before is not None and subject.after is not None, "it has new code"
        directory = layout.release_directory(subject.environment.name, subject.api)
        image = self.planned.get(directory)
        if image is not None and image.context is not None:
            after = document_of_source(image, subject.after.spec)
        else:
            after = self._of_registry(subject.after.image)
        # Without a document after the change there is nothing to compare.
        return (self._of_registry(subject.before.image) if after else None), after

    def _of_registry(self, image: ImageRef) -> Document | None:
        """The document in the label of an image; `None` where it has none, or cannot be read."""
        key = memory_key("openapi", str(image)) if image.digest else b""
        known = self.memory.recall([key]) if key else {}
        text = known.get(key)
        if text is None:
            assert self.registry is not None, "it is asked only where there is one"
            try:
                text = open_image(self.registry, image).contents.labels.get(OPENAPI_LABEL, "")
            except GitopsMlError:
                return None
            self.memory.keep({key: text} if key else {})
        return _mapping(text)


def document_of_source(image: PlannedImage, spec: ReleaseSpec) -> Document | None:
    """The document that the runtime serves; `None` where the source does not define it."""
    if image.context is None or spec.predictor is None:
        return None
    predictor = spec.predictor
    source = PredictorSource(api=spec.name, path=predictor.path, class_name=predictor.class_name)
    return _mapping(read_openapi(image.context, source))


def _mapping(text: str) -> Document | None:
    try:
        found = read_json(text.encode()) if text else None
    except BadJson:
        return None
    return found if isinstance(found, dict) else None


def _has_new_code(subject: Subject) -> bool:
    before, after = subject.before, subject.after
    if before is None or after is None or before.image == after.image:
        return False
    return before.spec.predictor is not None and after.spec.predictor is not None


def _place(subject: Subject) -> str:
    return f"{subject.api} in {subject.environment.name}"


def _with(subject: Subject, found: tuple[Document | None, Document | None] | None) -> Subject:
    if found is None or subject.before is None or subject.after is None:
        return subject
    before, after = found
    return replace(
        subject,
        before=replace(subject.before, openapi=before),
        after=replace(subject.after, openapi=after),
    )


def _unknown(places: Sequence[str]) -> str:
    return (
        f"{few(places)}: the image of the current release has no document of its requests and answers that could be "
        "read, so it is not known whether callers of it break"
    )
