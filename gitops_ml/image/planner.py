"""Plan images, and look them up."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from gitops_ml.errors import GitopsMlError, Refused, ServerFailed, UsageError
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.context import (
    BuildContext,
    RuntimeFiles,
    read_context,
    read_runtime_files,
    runtime_context,
)
from gitops_ml.image.recipe import (
    BuilderChoice,
    DockerPlan,
    OciPlan,
    PredictorSource,
    choose_builder,
    docker_plan,
    proxy_hash,
    unlocked_hash,
)
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.packages.build_settings import source_date_epoch
from gitops_ml.packages.lock_file import MACHINES, inputs_fingerprint
from gitops_ml.packages.locking import (
    LockFacts,
    LockOutcome,
    Locks,
    ensure_lock,
    read_lock,
    requirement_lines_of,
    why_stale,
)
from gitops_ml.project.project import ImageSettings
from gitops_ml.release.proxy import REPOSITORY
from gitops_ml.release.spec import PredictorSpec
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.cache import cache_folder, cache_place, folder_in
from gitops_ml.system.memory import Memory
from gitops_ml.system.progress import Progress


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An image without an up-to-date lock: its content hash is not final."""

    path: Path
    """Of the lock."""
    reason: str
    """``is not there`` or ``is older than the requirements``."""


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """The image of one release: ready-made, or built from ``context``."""

    ref: ImageRef
    """With its digest where the document has it, or after a look-up."""
    content_hash: ContentHash | None = None
    context: BuildContext | None = None
    choice: BuilderChoice | None = None
    plan: DockerPlan | OciPlan | None = None
    """How it is built; ``None`` for a ready-made image, or without a lock."""
    make_plan: Callable[[], OciPlan] | None = None
    """Makes the plan when the image is built, where its name needs none."""
    lock: LockOutcome | Unlocked | None = None
    manifest: Callable[[], bytes] | None = None
    """The text of the manifest of its API."""

    def with_digest(self, digest: str | None) -> PlannedImage:
        return replace(self, ref=replace(self.ref, digest=digest or self.ref.digest))

    def with_plan(self) -> PlannedImage:
        """The image with the plan that a build needs."""
        if self.plan is not None or self.make_plan is None:
            return self
        return replace(self, plan=self.make_plan())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """The parts of a release that its image depends on."""

    name: str
    """Of the API."""
    predictor: PredictorSpec | None
    """``None`` where ``ready_image`` runs."""
    ready_image: str | None
    """The image that the manifest names."""
    folder: Path
    """The folder of the predictor's paths."""
    manifest: str
    """The path of the manifest's file."""
    manifest_text: Callable[[], bytes]


class ImagePlanner:
    """Plans the images of one project; a directory is read, locked and hashed once."""

    def __init__(
        self,
        settings: ImageSettings,
        *,
        registry: OciRegistry | None,
        locks: Locks,
        progress: Progress,
        memory: Memory | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._locks = locks
        self._progress = progress
        self._memory = memory
        self._contexts: dict[tuple[object, ...], BuildContext] = {}
        self._bases: dict[str, ImageRef] = {}
        self._inputs: dict[Path, str] = {}
        self._known_locks: dict[Path, LockOutcome | Unlocked] = {}

    def plan(self, request: ImageRequest) -> PlannedImage:
        """The image of one release, named by the hash of its inputs.

        Raises:
            InvalidDocument: a file of the project cannot enter an image.
            UsageError: the digest of the base image cannot be found, the chosen builder cannot make
                the image, or its lock is not up to date and has to be.
            GitopsMlError, Refused, ServerFailed: the requirements cannot be resolved.
        """
        if request.ready_image is not None:
            return PlannedImage(ImageRef.parse(request.ready_image))
        predictor = request.predictor
        assert predictor is not None, "the rules demand a predictor or a container"
        context = self._context(request, predictor)
        choice = self._choice(request.name, context, predictor)
        plan = self._with_docker if choice.builder == "docker" else self._without_docker
        image = plan(request.name, context, predictor)
        return replace(image, context=context, choice=choice, manifest=request.manifest_text)

    def plan_proxy(self) -> PlannedImage:
        """The image of the proxy before ready-made containers, one for the project."""
        settings, base = self._settings, self._base(self._settings.base)
        context = runtime_context(self._runtime_files)
        epoch, python = source_date_epoch(os.environ), settings.python_version
        hashed = proxy_hash(
            context, base=base, platforms=settings.platforms, python=python, epoch=epoch
        )
        return PlannedImage(
            self._ref(REPOSITORY, hashed),
            hashed,
            context=context,
            choice=BuilderChoice("oci", "the proxy needs no container"),
            make_plan=partial(
                proxy_plan, context, settings, base=base, named=hashed, progress=self._progress
            ),
        )

    def lock_facts(self, request: ImageRequest) -> LockFacts | None:
        """The facts that the lock of a release is made from; ``None`` where it has no lock."""
        predictor = request.predictor
        if self.why_no_lock(request) or predictor is None:
            return None
        return self._facts(request.name, self._context(request, predictor), predictor)

    def why_no_lock(self, request: ImageRequest) -> str | None:
        """Why a release has no lock; ``None`` where its image is made without Docker."""
        if request.ready_image is not None:
            return "its image is ready-made"
        predictor = request.predictor
        if predictor is None:
            return "it has no image"
        choice = self._choice(request.name, self._context(request, predictor), predictor)
        return choice.reason if choice.builder == "docker" else None

    def _choice(self, name: str, context: BuildContext, predictor: PredictorSpec) -> BuilderChoice:
        image = self._settings
        is_known = predictor.python_version or not predictor.image
        try:
            return choose_builder(
                image.builder,
                dependencies=context.dependencies,
                needs_pip=context.needs_pip,
                unknown_python=None if is_known else predictor.image,
                platforms=image.platforms,
            )
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error

    def _with_docker(
        self, name: str, context: BuildContext, predictor: PredictorSpec
    ) -> PlannedImage:
        image = self._settings
        (platform,) = image.platforms
        plan = docker_plan(
            context,
            base=self._base(predictor.image or image.base),
            platform=platform,
            predictor_type=predictor.type,
            # the predictor's own base image decides its Python
            python_version=predictor.python_version
            or (None if predictor.image else image.python_version),
        )
        hashed = plan.content_hash
        assert hashed, "`docker_plan` sets it"
        return PlannedImage(self._ref(name, hashed), hashed, plan=plan)

    def _without_docker(
        self, name: str, context: BuildContext, predictor: PredictorSpec
    ) -> PlannedImage:
        base = self._base(predictor.image or self._settings.base)
        facts = self._facts(name, context, predictor)
        lock = self._lock(facts)
        if isinstance(lock, Unlocked):
            hashed = unlocked_hash(context, base=base, inputs=facts.inputs)
            return PlannedImage(self._ref(name, hashed), hashed, lock=lock)
        plan = OciPlan(
            context=context,
            lock=lock.lock,
            base=base,
            platforms=self._settings.platforms,
            predictor=PredictorSource(
                api=name, path=predictor.path, class_name=predictor.class_name
            ),
            epoch=source_date_epoch(os.environ),
            asked=partial(requirement_lines_of, facts),
        )
        hashed = plan.content_hash
        return PlannedImage(self._ref(name, hashed), hashed, plan=plan, lock=lock)

    def _facts(self, name: str, context: BuildContext, predictor: PredictorSpec) -> LockFacts:
        """The facts that a lock is made from."""
        image = self._settings
        facts = lock_facts(
            context,
            predictor_type=predictor.type,
            python=predictor.python_version or image.python_version,
            platforms=image.platforms,
        )
        if self._inputs.setdefault(facts.path, facts.inputs) != facts.inputs:
            raise UsageError(
                f"{name} shares {facts.path} with another API of the same folder, and the two have "
                "different Pythons or types: give one of them a folder of its own"
            )
        return facts

    def _lock(self, facts: LockFacts) -> LockOutcome | Unlocked:
        if facts.path not in self._known_locks:
            self._known_locks[facts.path] = self._new_lock(facts)
        return self._known_locks[facts.path]

    def _new_lock(self, facts: LockFacts) -> LockOutcome | Unlocked:
        if self._locks is not Locks.KNOWN:
            is_frozen = self._locks is Locks.FROZEN
            return ensure_lock(
                facts,
                environ=os.environ,
                frozen=is_frozen,
                progress=self._progress,
                memory=self._memory,
            )
        lock = read_lock(facts, self._memory)
        reason = why_stale(facts, lock)
        if lock is None or reason:
            return Unlocked(facts.path, reason)
        return LockOutcome(lock=lock, path=facts.path, changes=(), is_written=False)

    def _ref(self, api: str, hashed: ContentHash) -> ImageRef:
        repository = self._settings.repository
        return ImageRef(f"{repository}/{api}" if repository else api, hashed.tag)

    def _context(self, request: ImageRequest, predictor: PredictorSpec) -> BuildContext:
        key = (request.folder, predictor.path, predictor.dependencies)
        if key not in self._contexts:
            self._contexts[key] = read_context(
                request.folder,
                predictor=predictor,
                manifests=(posixpath.basename(request.manifest),),
                cache=cache_place(os.environ),
                runtime=self._runtime_files,
                is_complete=self._locks is not Locks.KNOWN,
            )
        return self._contexts[key]

    @cached_property
    def _runtime_files(self) -> RuntimeFiles:
        """Read once: the images of a project have the same."""
        return read_runtime_files()

    def _base(self, text: str) -> ImageRef:
        if text not in self._bases:
            self._bases[text] = self._with_digest(ImageRef.parse(text))
        return self._bases[text]

    def _with_digest(self, base: ImageRef) -> ImageRef:
        if base.digest:
            return base
        digest = self._registry.digest(base) if self._registry else None
        if digest is None:
            raise UsageError(
                f"the base image {base} has no digest, and "
                + ("its registry does not have it" if self._registry else "no registry was asked")
                + ": pin it as <image>@sha256:… in gitops-ml.yaml (image.base) or predictor.image"
            )
        return replace(base, digest=digest)


def look_up(
    images: Iterable[PlannedImage],
    *,
    known: Mapping[str, str],
    registry: OciRegistry | None,
    unanswered: Callable[[GitopsMlError], None] | None = None,
    is_trusted: Callable[[PlannedImage], bool] = lambda _: True,
) -> dict[str, str]:
    """Digests by ``repository:tag``, of those images that exist.

    ``known`` are digests in the GitOps repository: a content-hash tag names one content, so the deployed
    digest is right. Other tags are looked up in the registry; an image with a content hash counts only
    if ``is_trusted``.
    """
    found: dict[str, str] = {}
    for image in images:
        name = str(replace(image.ref, digest=None))
        digest = None
        if image.ref.digest or name in found:
            continue
        if image.content_hash and name in known:
            digest = known[name]
        elif registry is not None:
            try:
                digest = _in_registry(image, registry, is_trusted)
            except (Refused, ServerFailed) as error:
                if unanswered is None:
                    raise
                unanswered(error)
                # after one failure the registry is not asked again
                registry = None
        if digest:
            found[name] = digest
    return found


def _in_registry(
    image: PlannedImage, registry: OciRegistry, is_trusted: Callable[[PlannedImage], bool]
) -> str | None:
    digest = registry.digest(image.ref)
    if digest and image.content_hash and not is_trusted(image.with_digest(digest)):
        return None
    return digest


def proxy_plan(
    context: BuildContext,
    settings: ImageSettings,
    *,
    base: ImageRef,
    named: ContentHash,
    progress: Progress,
) -> OciPlan:
    """The plan of the image of the proxy.

    Its lock is resolved for each build and kept nowhere: the constraints of the runtime decide it, and a cache
    is not to be believed.
    """
    empty = folder_in(cache_folder(os.environ), "proxy")
    with TemporaryDirectory(prefix="gitops-ml-proxy-") as folder:
        facts = lock_facts(
            replace(context, roots={**context.roots, APP: Path(folder)}),
            predictor_type="python",
            python=settings.python_version,
            platforms=settings.platforms,
        )
        lock = ensure_lock(facts, environ=os.environ, progress=progress).lock
    return OciPlan(
        context=replace(context, roots={**context.roots, APP: empty}),
        lock=lock,
        base=base,
        platforms=settings.platforms,
        epoch=source_date_epoch(os.environ),
        named=named,
        asked=partial(requirement_lines_of, facts),
    )


def lock_facts(
    context: BuildContext, *, predictor_type: str, python: str, platforms: Iterable[str]
) -> LockFacts:
    """The facts that the lock of a project depends on.

    Raises:
        UsageError: no lock can be made for one of the platforms, or no Python is named.
    """
    chosen = tuple(sorted(set(platforms)))
    if unknown := [platform for platform in chosen if platform not in MACHINES]:
        raise UsageError(f"images without Docker are made for {', '.join(MACHINES)}: {unknown[0]}")
    if not python:
        raise UsageError("name the Python of the base image: image.python_version, such as 3.12")
    directory = context.roots[RUNTIME] / "predictor_base"
    known = {file.path: file.fingerprint for file in context.inputs}
    names = ("requirements.txt", f"requirements-{predictor_type}.txt")
    runtime = {
        directory / name: known[path]
        for name in names
        if (path := f"{RUNTIME}/predictor_base/{name}") in known
    }
    files = {path: known.get(f"{APP}/{path}", "") for path in context.pip_files}
    return LockFacts(
        project=context.roots[APP],
        requirements=context.dependencies.pip,
        runtime=tuple(runtime),
        constraints=directory / "constraints.txt",
        python=python,
        platforms=chosen,
        files=tuple(files),
        inputs=inputs_fingerprint(
            python=python, platforms=chosen, files=files, runtime=runtime.values()
        ),
    )
