"""Plan, look up and build the images of a workspace, and warn about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from gitops_ml._version import __version__
from gitops_ml.documents.findings import few
from gitops_ml.errors import GitopsMlError, InvalidDocument, Refused, ServerFailed
from gitops_ml.gitops.release_yaml import Provenance
from gitops_ml.image.planner import (
    ImagePlanner,
    ImageRequest,
    PlannedImage,
    Unlocked,
    look_up,
)
from gitops_ml.oci.reference import ImageRef, split_repository
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.packages.locking import LockOutcome, Locks
from gitops_ml.release.model_artifacts import SCHEME, artifacts_of
from gitops_ml.release.proxy import PROXY
from gitops_ml.runtime.runtime_package import APP
from gitops_ml.system.project_files import read_file
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.source import read_provenance
from gitops_ml.workspace.workspace import PlannedRelease, Workspace


def plan_images(
    workspace: Workspace, clients: Clients, locks: Locks = Locks.KNOWN
) -> dict[str, PlannedImage]:
    """The image of each release, by the release's directory; that of their proxies by `PROXY`."""
    planner = ImagePlanner(
        workspace.project.image,
        registry=clients.registry,
        locks=locks,
        progress=clients.progress,
        memory=workspace.memory,
    )
    images = {
        planned.directory: planner.plan(image_request(workspace, planned))
        for planned in workspace.releases
    }
    if any(planned.has_proxy for planned in workspace.releases):
        images[PROXY] = planner.plan_proxy()
    return images


def image_request(workspace: Workspace, planned: PlannedRelease) -> ImageRequest:
    """What the image of a release depends on."""
    return ImageRequest(
        name=planned.name,
        predictor=None if planned.ready_image is not None else planned.spec.predictor,
        ready_image=planned.ready_image,
        folder=workspace.directory_of(planned.manifest),
        manifest=planned.manifest.file,
        manifest_text=partial(workspace.manifest_text, planned.manifest),
    )


_MOST_SOURCES = 500
_LARGEST_SOURCE = 1 << 20
_LARGEST_OTHER = 1 << 18


def source_texts(image: PlannedImage | None) -> dict[str, str]:
    """The texts of the project that enter an image, by their paths in it; those that can be read.

    Python files first, then others that are small: data and models are none.
    """
    context = image.context if image else None
    if context is None:
        return {}
    paths = [i.path.removeprefix(f"{APP}/") for i in context.inputs if i.path.startswith(f"{APP}/")]
    code = [path for path in paths if path.endswith(".py")]
    others = [path for path in paths if not path.endswith(".py")]
    root = context.roots[APP]
    return {
        **_texts(root, code[:_MOST_SOURCES], _LARGEST_SOURCE),
        **_texts(root, others[:_MOST_SOURCES], _LARGEST_OTHER),
    }


def _texts(root: Path, paths: list[str], limit: int) -> dict[str, str]:
    found = {}
    for path in paths:
        with suppress(OSError, ValueError, InvalidDocument):
            content = read_file(root / path, limit=limit, inside=(root,))
            is_code = path.endswith(".py")
            found[path] = content.decode("utf-8", "replace" if is_code else "strict")
    return found


def check_models(workspace: Workspace, clients: Clients) -> tuple[str, ...]:
    """Look up the model artifacts of all releases, once each; returns warnings.

    A registry that may not be asked or does not answer does not stop a deploy.
    """
    if clients.registry is None:
        return ()
    found = tuple(_model_digests(_artifacts(workspace), clients.registry))
    if missing := [f"{SCHEME}{image}" for image, digest in found if digest is None]:
        raise Refused(
            f"{', '.join(missing)}: the registry has no such model, and no replica could start "
            "without it. Push it (`gitops-ml model push DIR oci://…`), and name what that prints"
        )
    warnings = (_model_warning(image, digest) for image, digest in found)
    return tuple(filter(None, warnings))


def _model_digests(
    images: Iterable[ImageRef], registry: OciRegistry
) -> Iterator[tuple[ImageRef, str | GitopsMlError | None]]:
    """Each image with its digest or the failure; a server that failed is not asked again."""
    silent: set[str] = set()
    for image in images:
        host = split_repository(image.repository)[0]
        if host in silent:
            continue
        try:
            yield image, registry.digest(image)
        except (Refused, ServerFailed) as error:
            silent.add(host)
            yield image, error


def _model_warning(image: ImageRef, digest: str | GitopsMlError | None) -> str:
    location = f"{SCHEME}{image}"
    if isinstance(digest, GitopsMlError):
        return f"could not check whether {location} exists: {digest}"
    if image.digest is None:
        return (
            f"{location} is a tag, which may move under the replicas: it is {digest} "
            f"now, so name {location}@{digest}"
        )
    return ""


def _artifacts(workspace: Workspace) -> tuple[ImageRef, ...]:
    predictors = (
        planned.spec.predictor for planned in workspace.releases if planned.ready_image is None
    )
    found = (image for predictor in predictors if predictor for image in artifacts_of(predictor))
    return tuple(dict.fromkeys(found))


def built_images(images: Mapping[str, PlannedImage]) -> list[tuple[tuple[str, ...], PlannedImage]]:
    """Each image that gitops-ml builds, once, with the APIs that run it."""
    by_name: dict[str, tuple[set[str], PlannedImage]] = {}
    for directory, image in images.items():
        if image.content_hash:
            users, _ = by_name.setdefault(str(image.ref), (set(), image))
            users.add(directory.rpartition("/")[2])
    return [(tuple(sorted(users)), image) for users, image in by_name.values()]


def with_digests(
    images: Mapping[str, PlannedImage],
    known: Mapping[str, str],
    clients: Clients,
    unanswered: Callable[[GitopsMlError], None],
    is_trusted: Callable[[PlannedImage], bool] = lambda _: True,
) -> dict[str, PlannedImage]:
    digests = look_up(
        images.values(),
        known=known,
        registry=clients.registry,
        unanswered=unanswered,
        is_trusted=is_trusted,
    )
    return {key: image.with_digest(digests.get(str(image.ref))) for key, image in images.items()}


def finished_image_check(clients: Clients) -> Callable[[PlannedImage], bool]:
    """Whether an image that is in the registry, by digest, is a finished one of gitops-ml.

    Where images are signed, a signature with our key has to name what the image was made from: people
    who may push to the registry may push to these tags as well, and such an image is built again
    rather than signed after the fact.
    """

    def is_finished(image: PlannedImage) -> bool:
        lack = _lack(image, clients)
        if lack:
            clients.progress(f"{image.ref} {lack}: building it again")
        return not lack

    return is_finished


def _lack(image: PlannedImage, clients: Clients) -> str:
    """What an image lacks to be a finished one, as a verb phrase."""
    ref, hashed, choice = image.ref, image.content_hash, image.choice
    assert hashed and choice, "an image that is built has both"
    key = clients.key
    if key is None and choice.builder != "docker":
        return ""
    from gitops_ml.image.publish import is_documented, is_made_by

    registry = clients.oci.registry
    if key and not is_made_by(key.public, ref, registry=registry, content_hash=hashed):
        return "is not signed with our key"
    # An engine pushes the tag, and then come the documents; otherwise the tag comes last.
    if choice.builder == "docker" and not is_documented(ref, registry=registry):
        return "lacks documents about it"
    return ""


def make_image(
    image: PlannedImage,
    clients: Clients,
    *,
    push: bool,
    source: Callable[[], Mapping[str, str] | None],
) -> str:
    from gitops_ml.image.publish import Publication, build_image

    publication = None
    if push:
        manifest = image.manifest() if image.manifest else None
        publication = Publication(manifest=manifest, source=source(), key=clients.key)
    return build_image(
        image,
        docker=clients.builder,
        oci=clients.oci,
        publication=publication,
        progress=clients.progress,
    )


def source_of(provenance: Provenance) -> Mapping[str, str] | None:
    """What the provenance of an image names, from that of a release."""
    if not provenance.repository:
        return None
    # A dirty work tree is not what the commit holds.
    commit = provenance.commit if not provenance.is_dirty else None
    return {"uri": provenance.repository, **({"commit": commit} if commit else {})}


def image_warnings(
    images: Iterable[PlannedImage], packaged: Container[Path] = ()
) -> tuple[str, ...]:
    """Warnings about images and the files that enter them, once each.

    ``packaged`` are folders of the cache of gitops-ml, where no lock is committed.
    """
    chosen = [image for image in images if image.context is not None]
    found = {
        str(problem).replace("warning: ", "", 1)
        for image in chosen
        for problem in (image.context.warnings if image.context else ())
    }
    return (*sorted(found), *lock_warnings(chosen, packaged))


_OPEN = "the requirements are resolved when it is deployed, so the image has another tag then"


def lock_warnings(
    images: Iterable[PlannedImage], packaged: Container[Path] = ()
) -> tuple[str, ...]:
    """Which locks were written, which are missing, and which are out of date."""
    locks = [image.lock for image in images if image.lock is not None]
    # A lock in the cache is not committed.
    own = [lock for lock in locks if lock.path.parent not in packaged]
    is_open = any(isinstance(lock, Unlocked) and lock.path.parent in packaged for lock in locks)
    written: dict[str, LockOutcome] = {}
    unlocked: dict[str, set[str]] = {}
    for lock in own:
        if isinstance(lock, Unlocked):
            unlocked.setdefault(lock.reason, set()).add(_shown(lock.path))
        elif lock.is_written:
            written[_shown(lock.path)] = lock
    packages = {path: len(lock.lock.packages) for path, lock in sorted(written.items())}
    return (
        *(f"{path} was written ({count} packages): commit it" for path, count in packages.items()),
        *(
            f"{few(sorted(paths))} {reason}, so the image has another tag once `gitops-ml lock`, "
            "`build` or `deploy` has resolved the requirements"
            for reason, paths in sorted(unlocked.items())
        ),
        *([_OPEN] if is_open else ()),
    )


def _shown(path: Path) -> str:
    """A path relative to the current folder."""
    return os.path.relpath(path)


def provenance_of(workspace: Workspace) -> Provenance:
    provenance = read_provenance(workspace.root, tool_version=__version__)
    return replace(provenance, origin=workspace.origin)
