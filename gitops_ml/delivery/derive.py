"""A release made from one that stands: its manifest and its image, in the same or another environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitops_ml.delivery.rendering import CHART
from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.errors import InvalidDocument, Problem, Problems, Refused, UsageError
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release, release_text
from gitops_ml.helm.charts import read_chart
from gitops_ml.manifest.model import Manifest, parse_manifests
from gitops_ml.oci.reference import ImageRef
from gitops_ml.release.resolve import UNSERVED, resolve, unresolvable
from gitops_ml.release.rules.check_release import check_release
from gitops_ml.release.rules.effect import effect_findings
from gitops_ml.release.rules.manifests import check_manifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.project.model import Project
    from gitops_ml.release.spec import ReleaseSpec
    from gitops_ml.workspace.clients import Clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a release is made from, and by which verb."""

    release: ReleaseRecord
    by: str

    def provenance(self) -> Mapping[str, Any]:
        """The source's own, with the way from there."""
        derived = {
            "by": self.by,
            "environment": self.release.environment,
            "deployment_id": self.release.deployment_id,
        }
        return {**self.release.provenance, "derived_from": derived}


@dataclass(frozen=True, slots=True)
class DerivedRelease:
    """The release, and what people should know about it."""

    origin: Origin
    manifest: Manifest
    release: Release
    problems: Problems
    spec: ReleaseSpec


def derive_release(
    origin: Origin,
    project: Project,
    environment: str,
    *,
    tools: Clients,
    manifest: Mapping[str, Any] | None = None,
) -> DerivedRelease:
    """The release of the origin's image in ``environment``, by today's rules and the project file.

    ``manifest`` is the API as it should be; without it, it is as it was submitted.

    Raises:
        InvalidDocument: the manifest breaks a rule in this environment.
        UsageError: it would need another image.
        Refused: its image is not known by digest.
    """
    source = origin.release
    parsed, found = _parsed(source, source.manifest if manifest is None else manifest)
    problems = [*found, *_problems(parsed, project, environment)]
    spec = _spec(parsed, project, environment)
    tried = parsed if manifest is None else _parsed(source, source.manifest)[0]
    was = _spec(tried, project, source.environment)
    image = _image(source, was=was, spec=spec, tools=tools)
    cluster, chart = project.clusters[spec.cluster], read_chart(CHART)
    content_hash = source.content_hash if image == source.image else None
    text = release_text(
        spec,
        cluster,
        image=image,
        content_hash=content_hash,
        chart=chart,
        project=project.name,
        manifest=parsed.submitted,
        manifest_file=source.manifest_file,
    )
    release = Release(
        name=spec.name,
        environment=spec.environment,
        team=spec.team,
        namespace=spec.namespace,
        image=image,
        content_hash=content_hash,
        chart=chart,
        text=text,
    )
    return DerivedRelease(origin, parsed, release, Problems.of(set(problems)), spec)


def refuse_taken(made: DerivedRelease, others: Iterable[ReleaseRecord]) -> None:
    """An API does not take what another one beside it has: its endpoint, its Application's name.

    Raises:
        InvalidDocument: it does.
    """
    manifests = [_parsed(release, release.manifest)[0] for release in others]
    found = check_manifests([*manifests, made.manifest], environments=[made.release.environment])
    if taken := [problem for problem in found if problem.file == made.manifest.file]:
        raise InvalidDocument(taken)


def _parsed(
    source: ReleaseRecord, manifest: Mapping[str, Any]
) -> tuple[Manifest, tuple[Problem, ...]]:
    """The manifest as if it stood in a file; its problems name the release."""
    document = document_of([manifest], file=f"{source.directory}/{layout.RELEASE}")
    manifests, problems = parse_manifests(document, schema=load_schema("api"))
    if errors := Problems.of(problems).errors:
        raise InvalidDocument(errors)
    return manifests[0], problems


def _problems(manifest: Manifest, project: Project, environment: str) -> list[Problem]:
    refused = [manifest.problem(finding) for finding in unresolvable(manifest, project)]
    if stops := [p for p in refused if p.severity == "error" or p.rule == UNSERVED]:
        raise InvalidDocument(replace(problem, severity="error") for problem in stops)
    spec = _spec(manifest, project, environment)
    cluster = project.clusters[spec.cluster]
    place = project.environments[environment]
    findings = (
        *check_release(spec, cluster, environment=place, teams=project.teams, images=project.image),
        *effect_findings(manifest, spec, cluster),
    )
    found = [manifest.problem(finding, environment=environment) for finding in findings]
    if errors := Problems.of(found).errors:
        raise InvalidDocument(errors)
    return [*refused, *found]


def _spec(manifest: Manifest, project: Project, environment: str) -> ReleaseSpec:
    with_defaults = load_schema("api").with_defaults
    return resolve(manifest, project, environment, with_defaults=with_defaults)


def _image(
    source: ReleaseRecord, *, was: ReleaseSpec, spec: ReleaseSpec, tools: Clients
) -> ImageRef:
    """The image that stands, unless the manifest names a ready-made one of its own here.

    Raises:
        UsageError: what the image is made of would change.
        Refused: the image has no digest.
    """
    image = source.image
    if spec.container is not None and (
        was.container is None or was.container.image != spec.container.image
    ):
        image = ImageRef.parse(spec.container.image)
        if image.digest is None and tools.registry is not None:
            image = replace(image, digest=tools.registry().digest(image))
    elif differing := _differing_inputs(was, spec):
        raise UsageError(
            f"{', '.join(differing)} of {spec.name}: another image is needed for "
            f"{spec.environment}, and this verb builds none: `gitops-ml deploy -e "
            f"{spec.environment} -a {spec.name}` does"
        )
    if image.digest is None:
        raise Refused(
            f"{source.directory} names its image by tag ({image}), and a tag may mean something "
            "else tomorrow: deploy it with a digest first"
        )
    return image


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
