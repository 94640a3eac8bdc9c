"""Derive a release from a current one: its manifest and its image, here or in another environment; or write its files
as given, not rendered: a rollback's, a refresh's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gitops_ml.delivery.refusals import refuse_forbidden, taken_routes
from gitops_ml.delivery.release_changes import (
    ReleaseChanges,
    WantedRelease,
    refuse_what_helm_refuses,
    release_changes,
)
from gitops_ml.delivery.rendering import ReleaseParts, make_release, refuse_faults
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.errors import (
    InvalidDocument,
    Problem,
    Problems,
    Refused,
    RepositoryMoved,
    ServerFailed,
    UsageError,
)
from gitops_ml.git.commits import Change
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields
from gitops_ml.gitops.routes import route_of
from gitops_ml.gitops.whole_release import faults_of_text, faults_of_values
from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import Manifest, parse_manifests
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import Project
from gitops_ml.release.resolve import UNSERVED, resolve, unresolvable
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.workspace.clients import Clients
from gitops_ml.workspace.workspace import PlannedRelease, Workspace, check_planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a release is made from, and by which verb."""

    release: ReleaseRecord
    by: str

    def provenance(self) -> Mapping[str, Any]:
        """The provenance of the source release, with how this one was derived."""
        derived = {
            "by": self.by,
            "environment": self.release.environment,
            "deployment_id": self.release.deployment_id,
        }
        return {**self.release.provenance, "derived_from": derived}


@dataclass(frozen=True, slots=True)
class DerivedRelease:
    """The release, and its problems."""

    origin: Origin
    planned: PlannedRelease
    release: Release
    problems: Problems


def derive_release(
    origin: Origin,
    project: Project,
    environment: str,
    *,
    clients: Clients,
    manifest: Mapping[str, Any] | None = None,
) -> DerivedRelease:
    """The release of the origin's image in ``environment``, by today's rules and the project file.

    ``manifest`` is the API as it should be; without it, it is as it was submitted.

    Raises:
        InvalidDocument: the manifest breaks a rule in this environment.
        UsageError: it would need another image.
        Refused: its image is not known by digest, here and in the registry.
    """
    source = origin.release
    parsed, found = parse_release(source, source.manifest if manifest is None else manifest)
    planned, more = _planned(parsed, project, environment)
    tried = parsed if manifest is None else parse_release(source, source.manifest)[0]
    was = resolve(tried, project, source.environment)
    image = _image(source, was=was, spec=planned.spec)
    pinned = _pinned(image, origin, clients)
    proxy = _proxy(source, planned) if planned.has_proxy else None
    proxy = proxy and _pinned(proxy, origin, clients)
    hashed = source.content_hash if image == source.image else None
    release = make_release(ReleaseParts(planned, pinned, proxy, hashed, source.manifest_file))
    if source.content_hash is None and image == source.image != pinned:
        found = (*found, _was_by_tag(source, pinned))
    return DerivedRelease(origin, planned, release, Problems.of({*found, *more}))


def derived_changes(
    derived: Iterable[DerivedRelease], snapshot: GitSnapshot, workspace: Workspace, clients: Clients
) -> ReleaseChanges:
    """What has to change for derived releases; nothing where no release changes."""
    derived = tuple(derived)
    wanted = [
        WantedRelease(item.planned, item.release, item.origin.provenance()) for item in derived
    ]
    made = release_changes(wanted, RepositoryState.of(snapshot), workspace, clients)
    refuse_what_helm_refuses(made, workspace, clients)
    if not any(layout.is_release_file(change.path) for change in made.changes):
        # Shared files that this version writes differently do not justify a commit of their own.
        made = replace(made, changes=())
    problems = (str(problem) for item in derived for problem in item.problems.warnings)
    return replace(made, warnings=tuple(dict.fromkeys((*problems, *made.warnings))))


def refuse_taken(made: DerivedRelease, others: Iterable[ReleaseRecord]) -> None:
    """An API does not take the endpoint or the name of the Application of another one beside it."""
    manifests = [parse_release(release, release.manifest)[0] for release in others]
    manifest = made.planned.manifest
    found = check_manifests([*manifests, manifest], environments=[made.release.environment])
    if taken := [problem for problem in found if problem.file == manifest.file]:
        raise InvalidDocument(taken)


def parse_release(
    source: ReleaseRecord, manifest: Mapping[str, Any]
) -> tuple[Manifest, tuple[Problem, ...]]:
    """The manifest as if it were in a file; its problems name the release."""
    document = document_of([manifest], file=f"{source.directory}/{layout.RELEASE}")
    manifests, problems = parse_manifests(document)
    if errors := Problems.of(problems).errors:
        raise InvalidDocument(errors)
    return manifests[0], problems


def refuse_unresolvable(manifest: Manifest, project: Project) -> list[Problem]:
    """Refuse a manifest that cannot become releases of the project; returns what are warnings."""
    found = [manifest.problem(finding) for finding in unresolvable(manifest, project)]
    if stops := [each for each in found if each.severity == "error" or each.rule == UNSERVED]:
        raise InvalidDocument(replace(problem, severity="error") for problem in stops)
    return found


def _planned(
    manifest: Manifest, project: Project, environment: str
) -> tuple[PlannedRelease, list[Problem]]:
    refused = refuse_unresolvable(manifest, project)
    planned, found = check_planned(manifest, project, environment)
    if errors := Problems.of(found).errors:
        raise InvalidDocument(errors)
    return planned, [*refused, *found]


def _image(source: ReleaseRecord, *, was: ReleaseSpec, spec: ReleaseSpec) -> ImageRef:
    """The current image, unless the manifest names another ready-made one; refuses other inputs of the image."""
    if spec.container is not None and (
        was.container is None or was.container.image != spec.container.image
    ):
        return ImageRef.parse(spec.container.image)
    _refuse_other_inputs(was, spec)
    return source.image


def _pinned(image: ImageRef, origin: Origin, clients: Clients) -> ImageRef:
    """The image with its digest, which the registry may know; by tag, it stays as it is in its own environment only."""
    if image.digest is not None:
        return image
    digest, why = None, "no registry was asked"
    if clients.registry is not None:
        why = "the registry has no such image"
        try:
            digest = clients.registry.digest(image)
        except (ServerFailed, Refused) as error:
            why = str(error)
    source = origin.release
    if digest is None and (origin.by != "patch" or image not in (source.image, source.proxy)):
        raise Refused(
            f"{source.directory} names its image by tag ({image}), which may mean something else "
            f"tomorrow, and its digest is not known ({why}): `gitops-ml deploy -e {source.environment} "
            f"-a {source.api}` builds what is missing and names it by digest"
        )
    return replace(image, digest=digest)


def _was_by_tag(source: ReleaseRecord, image: ImageRef) -> Problem:
    message = (
        f"the release names its image by tag, and {image} is what the tag means now; pods that started "
        "earlier may run another one"
    )
    path = f"{source.directory}/{layout.RELEASE}"
    return Problem(path, 0, 0, "", message, rule="image", severity="warning")


def _proxy(source: ReleaseRecord, planned: PlannedRelease) -> ImageRef:
    """The image of the proxy, which the current release has to have."""
    if source.proxy is None:
        raise UsageError(
            f"{planned.name} gets a proxy, whose image is not known, and this verb builds "
            f"none: `gitops-ml deploy -e {planned.environment.name} -a {planned.name}` does"
        )
    return source.proxy


def _refuse_other_inputs(was: ReleaseSpec, spec: ReleaseSpec) -> None:
    if differing := _differing_inputs(was, spec):
        raise UsageError(
            f"{', '.join(differing)} of {spec.name}: another image is needed for "
            f"{spec.environment}, and this verb builds none: `gitops-ml deploy -e "
            f"{spec.environment} -a {spec.name}` does"
        )


def _differing_inputs(was: ReleaseSpec, spec: ReleaseSpec) -> tuple[str, ...]:
    """Fields that decide what an image holds, and that are not the same."""
    if (was.predictor is None) != (spec.predictor is None):
        return ("predictor",)
    if was.predictor is None or spec.predictor is None:
        return ()
    names = ("type", "path", "image", "python_version", "dependencies")
    return tuple(
        f"predictor.{name}"
        for name in names
        if getattr(was.predictor, name) != getattr(spec.predictor, name)
    )


# -- files as given --------------------------------------------------------------------------------

FILES = (layout.RELEASE, layout.VALUES, layout.MANIFEST)


def restored_changes(
    release: ReleaseRecord,
    files: Mapping[str, bytes],
    state: RepositoryState,
    project: Project,
    *,
    way_out: str,
) -> tuple[Change, ...]:
    """What has to change for the release's files to be ``files``, by path; others are deleted.

    ``way_out`` is a sentence for the person whose release today's policy forbids.
    """
    paths = [f"{release.directory}/{name}" for name in FILES]
    facts, values, manifest = (files.get(path) for path in paths)
    _refuse_broken(release.directory, values, manifest)
    route = route_of(release.directory, facts=facts, values=values)
    if taken := taken_routes({release.directory: route}, state):
        raise RepositoryMoved(taken[0][1])
    refuse_forbidden(_planned_today(release, project), state, way_out=way_out)
    before = state.read(paths)
    return tuple(
        Change(path, before.get(path), files.get(path))
        for path in paths
        if before.get(path) != files.get(path)
    )


def _refuse_broken(directory: str, values: bytes | None, manifest: bytes | None) -> None:
    data = read_fields(values)
    faults = faults_of_values(data)
    if manifest is not None:
        faults += faults_of_text(data, manifest.decode(errors="replace"))
    refuse_faults({directory: faults})


def _planned_today(release: ReleaseRecord, project: Project) -> PlannedRelease:
    """The release's manifest as of today; the project may no longer have its other environments."""
    own = release.manifest.get("environments")
    kept = {
        name: each
        for name, each in (own.items() if isinstance(own, dict) else ())
        if name == release.environment
    }
    place = project.environments[release.environment]
    submitted = {key: value for key, value in release.manifest.items() if key != "environments"}
    if kept:
        submitted["environments"] = kept
    manifest, _ = parse_release(release, submitted)
    here = replace(project, environments={place.name: place})
    refuse_unresolvable(manifest, here)
    return PlannedRelease(manifest, project, place, release.team)
