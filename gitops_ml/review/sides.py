"""One state of the source: the releases that a change touches, with their images and files.

Nothing of the state is executed, and no server is asked: predictors are read as syntax trees, and an
image has the hash of its inputs in place of the digest that only a registry knows.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gitops_ml.delivery.images import image_request, source_texts
from gitops_ml.delivery.openapi_documents import document_of_source
from gitops_ml.delivery.rendering import make_releases
from gitops_ml.documents.findings import error, few
from gitops_ml.errors import GitopsMlError, InvalidDocument, Problem
from gitops_ml.gitops.release_files import Release
from gitops_ml.image.planner import ImagePlanner, PlannedImage, Unlocked
from gitops_ml.oci.reference import ImageRef
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.packages.lock_file import BadLock, Lock, lock_path, parse_lock
from gitops_ml.packages.locking import Locks
from gitops_ml.policy.rule import KubernetesObjects
from gitops_ml.project.project import Project
from gitops_ml.release.proxy import PROXY
from gitops_ml.release.resolve import merged_fields
from gitops_ml.review.image_changes import layers_of
from gitops_ml.review.review import Side
from gitops_ml.review.scope import Scope
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.project_files import LARGEST_LOCK, current_folder, read_file, standing_in
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.manifest_files import PROJECT_FILES, Found
from gitops_ml.workspace.workspace import PlannedRelease, Workspace, open_project, read_found


@dataclass(kw_only=True)
class StateReleases:
    """The releases of one state that a change touches."""

    workspace: Workspace
    folder: Path
    """Where the state is written."""
    sizes: Mapping[str, int]
    planned: dict[str, PlannedRelease] = field(default_factory=dict)
    """By directory, and so are the others."""
    images: dict[str, PlannedImage] = field(default_factory=dict)
    releases: dict[str, Release] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    _read: dict[str, tuple[Any, Mapping[str, str]]] = field(default_factory=dict, init=False)
    _locks: dict[Path, Lock | None] = field(default_factory=dict, init=False)
    _runtimes: dict[Path, int] = field(default_factory=dict, init=False)

    @property
    def project(self) -> Project:
        return self.workspace.project

    @property
    def has_errors(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def may_have(self, api: str, file: str) -> bool:
        """Whether errors hide if ``api``, which another state has in ``file``, is here."""
        wrong = {problem.file for problem in self.problems if problem.severity == "error"}
        hidden = any(each == file or posixpath.basename(each) in PROJECT_FILES for each in wrong)
        return hidden or (bool(wrong) and api in {each.name for each in self.workspace.manifests})

    def make(self) -> None:
        """The files of the releases, with the images that are known now."""
        made = make_releases(self.planned.values(), self.images, self.workspace)
        self.releases = {release.directory: release for release in made}

    def side(self, directory: str, objects: KubernetesObjects) -> Side:
        """One release, for the review."""
        planned, release = self.planned[directory], self.releases[directory]
        image = self.images[directory]
        with standing_in(self.folder):
            line, _ = planned.manifest.place(())
            spec = planned.spec
        inputs, sizes = _inputs(image, self.sizes, planned.manifest.directory)
        lock = self._lock(image)
        is_current = image.lock is not None and not isinstance(image.lock, Unlocked)
        base = (spec.predictor and spec.predictor.image) or self.project.image.base
        return Side(
            spec=spec,
            manifest=merged_fields(planned.manifest, planned.environment),
            values=json.loads(release.text.data),
            objects=objects,
            image=str(replace(image.ref, digest=None)),
            content_hash=image.content_hash.hex if image.content_hash else None,
            inputs=inputs,
            sizes=sizes,
            packages={package.name: package.version for package in lock.packages} if lock else {},
            layers=layers_of(
                image,
                lock if is_current else None,
                base=base,
                code=sum(sizes.values()),
                runtime=self._runtime_bytes(image),
            ),
            file=planned.manifest.file,
            line=line,
        )

    def _lock(self, image: PlannedImage) -> Lock | None:
        """The lock of an image, also one that is older than the requirements."""
        if image.context is None:
            return None
        root, pip = image.context.roots[APP], image.context.dependencies.pip
        path = root / lock_path(pip)
        if path not in self._locks:
            try:
                text = read_file(path, limit=LARGEST_LOCK, inside=(root,)).decode(
                    "utf-8", "replace"
                )
                self._locks[path] = parse_lock(text, requirements=pip)
            except (OSError, BadLock, ValueError):
                self._locks[path] = None
        return self._locks[path]

    def _runtime_bytes(self, image: PlannedImage) -> int:
        """Bytes of the runtime, which is the same in all images."""
        if image.context is None or RUNTIME not in image.context.roots:
            return 0
        root = image.context.roots[RUNTIME]
        if root not in self._runtimes:
            own = (
                each.path for each in image.context.inputs if each.path.startswith(f"{RUNTIME}/")
            )
            paths = (root / path.removeprefix(f"{RUNTIME}/") for path in own)
            self._runtimes[root] = sum(path.lstat().st_size for path in paths)
        return self._runtimes[root]

    def lock_warnings(self, directories: Iterable[str]) -> Iterator[str]:
        """About locks of images without an up-to-date one: their packages are not decided yet."""
        places: dict[str, set[str]] = {}
        for directory in directories:
            image = self.images.get(directory)
            if image is not None and isinstance(image.lock, Unlocked):
                path = image.lock.path.as_posix().removeprefix(f"{self.folder}/")
                places.setdefault(image.lock.reason, set()).add(path)
        for reason, paths in sorted(places.items()):
            # Many folders may lack a lock for the same reason.
            named = f"{'each of ' if len(paths) > 1 else ''}{few(sorted(paths))}"
            yield (
                f"{named} {reason}, so the packages are resolved by the deploy: run "
                "`gitops-ml lock` and commit it"
            )

    def with_sources(self, side: Side, directory: str) -> Side:
        """The side with the sources of its predictor."""
        image = self.images[directory]
        key = image.content_hash.hex if image.content_hash else ""
        if key not in self._read and side.spec is not None:
            self._read[key] = document_of_source(image, side.spec), source_texts(image)
        openapi, sources = self._read.get(key, (None, {}))
        return replace(side, openapi=openapi, sources=sources)


def read_state_releases(
    folder: Path,
    scope: Scope,
    *,
    touched: Iterable[str],
    beside: Iterable[str] = (),
    sizes: Mapping[str, int],
) -> StateReleases:
    """The releases of the manifests in the ``touched`` folders, as the state in ``folder`` has them.

    ``beside`` are further manifests, which the others must not be in conflict with.
    """
    touched = set(touched)
    paths = sorted(
        {path for each in touched for path in scope.manifests.get(each, ())} | set(beside)
    )
    with standing_in(folder):
        workspace = workspace_in(folder, scope, paths)
        state = StateReleases(workspace=workspace, folder=folder, sizes=sizes)
        _plan(state, touched)
    return _with_problems(state)


def workspace_in(folder: Path, scope: Scope, manifests: Iterable[str]) -> Workspace:
    """The project of a state that ``folder`` has, with these manifests of it."""
    found = Found(
        root=folder / scope.root,
        project_file=folder / scope.project_file if scope.project_file else None,
        manifests=tuple(folder / path for path in manifests),
    )
    return read_found(found, environments=(), apis=(), covers_project=False)


def read_checkout_releases(
    folder: Path, clients_of: Callable[[Project, Path], Clients]
) -> StateReleases:
    """The releases of all manifests at or below ``folder``, as they are on the disk.

    The registry of the project has the digest of a base image without one.
    """
    workspace = open_project([folder], may_be_empty=True)
    state = StateReleases(workspace=workspace, folder=current_folder(), sizes={})
    registry = clients_of(workspace.project, workspace.root).registry
    touched = {each.manifest.directory for each in workspace.releases}
    _plan(state, touched, registry)
    return _with_problems(state)


def _with_problems(state: StateReleases) -> StateReleases:
    """The state with the problems of its documents, at their places in the source."""
    found = state.workspace.problems
    problems = (*found.errors, *found.warnings, *state.problems)
    state.problems = tuple(sorted({_shown(each, state.folder) for each in problems}))
    return state


def _plan(state: StateReleases, touched: set[str], registry: OciRegistry | None = None) -> None:
    """The image and the files of each release."""
    workspace = state.workspace
    settings = workspace.project.image
    if registry is None:
        settings = replace(settings, base=_pinned(settings.base))
    planner = ImagePlanner(settings, registry=registry, locks=Locks.KNOWN, progress=lambda _: None)
    problems: list[Problem] = []
    for planned in workspace.releases:
        if planned.manifest.directory not in touched:
            continue
        request = image_request(workspace, planned)
        if registry is None and request.predictor is not None and request.predictor.image:
            pinned = _pinned(request.predictor.image)
            request = replace(request, predictor=replace(request.predictor, image=pinned))
        try:
            image = planner.plan(request)
            proxy = planner.plan_proxy() if planned.has_proxy else None
        except InvalidDocument as failure:
            # A file that a manifest names and that is missing is among the errors already.
            problems += () if workspace.problems.errors else failure.problems
        except GitopsMlError as failure:
            wrong = error(("predictor",), str(failure), rule="image")
            problems.append(planned.manifest.problem(wrong))
        else:
            state.planned[planned.directory] = planned
            state.images[planned.directory] = _stand_in(image)
            if proxy is not None:
                state.images[PROXY] = _stand_in(proxy)
    state.problems = tuple(problems)
    state.make()


def _pinned(base: str) -> str:
    """A base image by digest; a tag without one is taken as it is, and no registry is asked."""
    image = ImageRef.parse(base)
    return base if image.digest else f"{base}@sha256:{hashlib.sha256(base.encode()).hexdigest()}"


def _stand_in(image: PlannedImage) -> PlannedImage:
    """The image by the hash of its inputs: equal inputs have equal digests, others differ."""
    if image.ref.digest or image.content_hash is None:
        return image
    return image.with_digest(f"sha256:{image.content_hash.hex}")


def _inputs(
    image: PlannedImage, sizes: Mapping[str, int], folder: str
) -> tuple[dict[str, str], dict[str, int]]:
    if image.context is None:
        return {}, {}
    inputs = {each.path: _facts(each) for each in image.context.inputs}
    own = (path.removeprefix(f"{APP}/") for path in inputs if path.startswith(f"{APP}/"))
    root = image.context.roots[APP]
    found = {}
    for path in own:
        known = sizes.get(posixpath.join(folder, path))
        found[f"{APP}/{path}"] = (root / path).lstat().st_size if known is None else known
    return inputs, found


def _facts(file: Any) -> str:
    kind = "link" if file.is_link else "executable" if file.is_executable else "file"
    return f"{kind} {file.fingerprint}"


def _shown(problem: Problem, folder: Path) -> Problem:
    """The problem with the paths of the source, not of the folder that it was written to."""
    prefix = f"{folder}/"
    message = problem.message.replace(prefix, "")
    return replace(problem, file=problem.file.removeprefix(prefix), message=message)
