"""Update base images to the digests that their tags have now, in the documents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gitops_ml.documents.findings import Path as Place
from gitops_ml.documents.findings import dotted
from gitops_ml.documents.yaml_edit import CannotEdit, scalars, with_values
from gitops_ml.documents.yaml_reader import Document, read_yaml
from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.reader import default_project
from gitops_ml.system.files import write_files
from gitops_ml.workspace import manifest_files as documents
from gitops_ml.workspace.clients import Clients


@dataclass(frozen=True, slots=True)
class BaseImage:
    """One place that names a base image."""

    path: Place
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


_Moves = Mapping[Place, BaseMove]
"""By the path of the value in the document."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A document, its bytes, and the base images that it names."""

    file: Path
    content: bytes
    document: Document
    bases: tuple[BaseImage, ...]


def update_bases(
    paths: Sequence[Path],
    *,
    project_file: Path | None = None,
    clients: Clients,
    dry_run: bool = False,
) -> tuple[BaseMove, ...]:
    """Set every base image of a project to the digest that its tag has now.

    The documents keep their comments and their order, and are written together or not at all.
    What changed is to be reviewed and committed like any change of the source.

    Raises:
        InvalidDocument: a document cannot be read.
        UsageError: a value has to be changed by hand, or a document cannot be written.
    """
    texts = tuple(_texts(documents.find(paths, project_file=project_file)))
    digests = _digests(texts, clients)
    moves = [(text, _moves(text, digests)) for text in texts]
    found = tuple(move for _, each in moves for move in each.values())
    edited = {text.file: _edited(text, each) for text, each in moves if _newer(each)}
    if dry_run or not edited:
        return found
    _write(edited)
    return tuple(replace(m, state="moved") if m.state == "newer" else m for m in found)


def _moves(text: _Text, digests: Mapping[ImageRef, str | None]) -> _Moves:
    return {
        base.path: base_move(base, text.document, digests.get(base.image)) for base in text.bases
    }


def _newer(moves: _Moves) -> dict[Place, str]:
    return {path: move.after for path, move in moves.items() if move.state == "newer"}


def _digests(texts: Iterable[_Text], clients: Clients) -> dict[ImageRef, str | None]:
    """What the tag of each base image names now."""
    assert clients.registry is not None, "`base update` has no --offline"
    images = {base.image for text in texts for base in text.bases if base.image.tag}
    return {
        image: clients.registry.digest(ImageRef(image.repository, image.tag))
        for image in sorted(images, key=str)
    }


def _write(edited: Mapping[Path, bytes]) -> None:
    """Write all of them or none; a link is followed to its file."""
    real = {Path(os.path.realpath(file)): content for file, content in edited.items()}
    folder = Path(os.path.commonpath([file.parent for file in real]))
    files = ((file.relative_to(folder).as_posix(), content) for file, content in real.items())
    write_files(folder, files)


def _edited(text: _Text, moves: _Moves) -> bytes:
    try:
        return with_values(text.content, text.document, _newer(moves))
    except CannotEdit as error:
        raise UsageError(f"{text.document.file}: {error}") from error


def _texts(found: documents.Found) -> Iterator[_Text]:
    if found.project_file is not None:
        default = default_project().image.base
        content, document = _read(found, found.project_file)
        bases = tuple(project_base(document, default=default))
        yield _Text(found.project_file, content, document, bases)
    for file in found.manifests:
        content, document = _read(found, file)
        yield _Text(file, content, document, tuple(manifest_bases(document)))


def _read(found: documents.Found, file: Path) -> tuple[bytes, Document]:
    content = documents.read_text(file, label=documents.label(file))
    if isinstance(content, Document):
        raise InvalidDocument(content.problems)
    document = read_yaml(content, file=documents.label(file))
    if any(problem.severity == "error" for problem in document.problems):
        raise InvalidDocument(document.problems)
    return content, document


def project_base(document: Document, *, default: str) -> Iterator[BaseImage]:
    """The base image of a project file, its default included, and those of its environments."""
    section = document.data.get("image") if isinstance(document.data, dict) else None
    named = (section if isinstance(section, dict) else {}).get("base")
    yield from _named(("image", "base"), named if isinstance(named, str) else default)
    for path, text in scalars(document.data, ("predictor", "image")):
        yield from _named(path, text)


def manifest_bases(document: Document) -> Iterator[BaseImage]:
    """The base images of a manifest's predictors, those of its environments included."""
    for section in ("predictor", "handler"):
        for path, text in scalars(document.data, (section, "image")):
            if "config" not in path:
                yield from _named(path, text)


def _named(path: Place, text: str) -> Iterator[BaseImage]:
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


def _with_name(path: Place, document: Document) -> Place:
    """A path in a manifest starts with the API's name, as in every message."""
    if not path or not isinstance(path[0], int):
        return path
    return (str(document.data[path[0]].get("name", path[0])), *path[1:])
