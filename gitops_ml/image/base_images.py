"""Base images in documents, and whether their tags have moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gitops_ml.documents.findings import Path, dotted
from gitops_ml.documents.yaml_edit import scalars
from gitops_ml.documents.yaml_reader import Document
from gitops_ml.oci.reference import ImageRef

PROJECT_BASE: Path = ("image", "base")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """One place that names a base image."""

    path: Path
    image: ImageRef


@dataclass(frozen=True, slots=True)
class BaseMove:
    """The base image in one place, before and after an update."""

    file: str
    line: int
    """0 for the default, which the document does not name."""
    path: str
    before: str
    after: str
    state: str
    """``current``, ``newer``, ``moved``, ``no tag`` (nothing to follow) or ``gone`` (no such tag)."""


def project_base(document: Document, *, default: str) -> Iterator[BaseImage]:
    """The base image of a project file, its default included, and those of its environments."""
    section = document.data.get("image") if isinstance(document.data, dict) else None
    named = (section if isinstance(section, dict) else {}).get("base")
    yield from _named(PROJECT_BASE, named if isinstance(named, str) else default)
    for path, text in scalars(document.data, ("predictor", "image")):
        yield from _named(path, text)


def manifest_bases(document: Document) -> Iterator[BaseImage]:
    """The base images of a manifest's predictors, those of its environments included."""
    for section in ("predictor", "handler"):
        for path, text in scalars(document.data, (section, "image")):
            if "config" not in path:
                yield from _named(path, text)


def _named(path: Path, text: str) -> Iterator[BaseImage]:
    try:
        yield BaseImage(path, ImageRef.parse(text))
    except ValueError:
        return  # `validate` reports it


def base_move(base: BaseImage, document: Document, digest: str | None) -> BaseMove:
    """The update of ``base`` to ``digest``, which its tag has now."""
    image = base.image
    if image.tag is None:
        state = "no tag"
    elif digest is None:
        state = "gone"
    else:
        state = "current" if digest == image.digest else "newer"
    after = replace(image, digest=digest) if state == "newer" else image
    is_written = document.node(base.path) is not None
    return BaseMove(
        file=document.file,
        line=document.place(base.path)[0] if is_written else 0,
        path=dotted(_with_name(base.path, document)),
        before=str(image),
        after=str(after),
        state=state,
    )


def _with_name(path: Path, document: Document) -> Path:
    """A path in a manifest starts with the API's name, as in every message."""
    if not path or not isinstance(path[0], int):
        return path
    return (str(document.data[path[0]].get("name", path[0])), *path[1:])
