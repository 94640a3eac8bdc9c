"""One manifest all the way to Kubernetes objects: parsed, resolved, checked, put into values, rendered.

Nothing is built and no file is written: the image is a made-up digest. Everything else is what
`gitops-ml render` does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import kubernetes_validate
import yaml
from kubernetes_validate import utils

from gitops_ml.documents.findings import Finding
from gitops_ml.documents.yaml_reader import document_of, load_yaml, read_yaml
from gitops_ml.gitops.release_files import ReleaseText, release_text
from gitops_ml.helm.charts import Chart
from gitops_ml.helm.engines import LibraryHelm
from gitops_ml.manifest.manifest import Manifest, parse_manifests
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.project import ClusterSpec, Project
from gitops_ml.project.reader import read_project
from gitops_ml.release.resolve import UNSERVED, resolve, unresolvable
from gitops_ml.release.rules.check_release import check_release
from gitops_ml.release.rules.effect import effect_findings
from gitops_ml.release.spec import ReleaseSpec
from gitops_ml.system.resources import resource_directory
from tests.support.custom_resources import check_custom_resource

# The library reads its schemas anew for every object.
utils.schema_contents = functools.lru_cache(None)(utils.schema_contents)
utils.all_versions = functools.lru_cache(None)(utils.all_versions)

KUBERNETES_VERSIONS = ("1.35", "1.36", "1.37")
CHART = resource_directory("charts") / "predictor"
DIGEST = "sha256:" + "ab" * 32

PROXY_IMAGE = ImageRef("ghcr.io/acme/ml/gitops-ml-proxy", "h-0123456789abcdef0123", DIGEST)

PROJECT: Mapping[str, Any] = {
    "project": "acme",
    "image": {"repository": "ghcr.io/acme/ml"},
    "gitops": {"repository": "https://git.acme.example/gitops.git"},
    "clusters": {
        "main": {
            "kubernetes_version": "1.36",
            "gpu_classes": {"t4": {"preset": "gke", "model": "t4", "spare": True}},
            "spot": {"preset": "gke"},
            "node_groups": {"large": {"pool": "large"}, "small": {"pool": "small", "zone": "a"}},
            "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.acme.example"]},
            "prometheus": {"address": "http://prometheus.monitoring:9090", "pod_monitors": True},
            "http_addon": True,
            "external_secrets": True,
        }
    },
    "policy": {
        "priority_classes": ["high"],
        "tolerations": ["dedicated=ml"],
        "node_labels": ["metadata.name", "b.example/c"],
        "annotations": ["b.example/"],
        "labels": ["b.example/"],
        "hosts": ["*.acme.example"],
        "external_secrets": ["SecretStore/*", "ClusterSecretStore/*"],
        "triggers": {
            "identities": ["aws"],
            "authentications": [
                "env",
                "filePath",
                "secretTargetRef",
                "ClusterTriggerAuthentication/orders",
            ],
        },
    },
    "environments": {"staging": {"namespace": "ml-staging"}, "production": {"namespace": "ml"}},
}
"""A project whose cluster has everything."""

BARE: Mapping[str, Any] = {
    "project": "acme",
    "gitops": {"repository": "https://git.acme.example/gitops.git"},
    "environments": {"staging": {"namespace": "ml-staging"}},
}
"""A project whose cluster has KEDA and nothing else."""


@dataclass(frozen=True)
class Rendered:
    """One release and what became of it."""

    spec: ReleaseSpec
    cluster: ClusterSpec
    text: ReleaseText
    values: dict[str, Any]
    objects: tuple[Mapping[str, Any], ...]

    def all(self, kind: str) -> list[Any]:
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str) -> Any:
        """The only object of the kind, beside those that the preflight has for itself."""
        items = self.all(kind)
        if kind != "Job":
            items = [item for item in items if "-preflight" not in item["metadata"]["name"]]
        (item,) = items
        return item

    @property
    def pod(self) -> Any:
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self) -> Any:
        """The container of the API: a sidecar where a proxy is before it."""
        containers = (*self.pod["containers"], *self.pod.get("initContainers", ()))
        return next(each for each in containers if each["name"] == "predictor")

    @property
    def settings(self) -> Any:
        """What the runtime reads, as it stands in the ConfigMap."""
        return json.loads(self.one("ConfigMap")["data"]["predictor.json"])

    @property
    def scaled(self) -> Any:
        return self.one("ScaledObject")["spec"]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``; `None` stays what it is."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def project_of(words: Mapping[str, Any] = PROJECT) -> Project:
    """The project that the words describe, or a failure with what is wrong with them."""
    project, problems = read_project(document_of(dict(words), file="gitops-ml.yaml"))
    assert project is not None, problems
    return project


def manifests_of(text: str | bytes | Mapping[str, Any]) -> tuple[Manifest, ...]:
    """The manifests of a file's text, or of one API's words."""
    if isinstance(text, str | bytes):
        content = text.encode() if isinstance(text, str) else text
        document = read_yaml(content, file="api.yaml")
    else:
        document = document_of([dict(text)], file="api.yaml")
    manifests, problems = parse_manifests(document)
    assert not [p for p in problems if p.severity == "error"], problems
    return manifests


def api(**sections: Any) -> dict[str, Any]:
    """The words of a RealtimeAPI; without ``container`` it has a predictor."""
    words: dict[str, Any] = {"name": "iris", "kind": "RealtimeAPI"}
    if "container" not in sections:
        words["predictor"] = {"path": "predictor.py"}
    return merged(words, sections)


def resolved(
    text: str | Mapping[str, Any], project: Project | None = None, environment: str = "staging"
) -> ReleaseSpec:
    """The release of one manifest."""
    (manifest,) = manifests_of(text)
    return resolve(manifest, project or project_of(), environment)


def findings_of(
    text: str | Mapping[str, Any], project: Project | None = None, environment: str = "staging"
) -> tuple[Finding, ...]:
    """What the checks say about one manifest in one environment."""
    project = project or project_of()
    (manifest,) = manifests_of(text)
    refused = tuple(unresolvable(manifest, project))
    if any(finding.severity == "error" or finding.rule == UNSERVED for finding in refused):
        return refused
    spec = resolved(text, project, environment)
    place = project.environments[environment]
    cluster = project.clusters[place.cluster]
    found = check_release(
        spec, cluster, environment=place, teams=project.teams, images=project.image
    )
    return (*refused, *found, *effect_findings(manifest, spec, cluster))


def errors_of(
    text: str | Mapping[str, Any], project: Project | None = None, environment: str = "staging"
) -> tuple[Finding, ...]:
    """What makes the manifest invalid."""
    found = findings_of(text, project, environment)
    return tuple(finding for finding in found if finding.severity == "error")


def image_of(spec: ReleaseSpec) -> ImageRef:
    if spec.container is not None:
        return ImageRef.parse(spec.container.image)
    return ImageRef(f"ghcr.io/acme/ml/{spec.name}", "h-0123456789abcdef0123", DIGEST)


def text_of(
    text: str | Mapping[str, Any],
    project: Project | None = None,
    environment: str = "staging",
    *,
    image: ImageRef | None = None,
    chart: Chart = Chart("predictor", "1.0.0", "1", ()),  # noqa: B008 - frozen
) -> ReleaseText:
    """``values.yaml`` and ``release.yaml`` of one manifest."""
    project = project or project_of()
    (manifest,) = manifests_of(text)
    spec = resolved(text, project, environment)
    return release_text(
        spec,
        project.clusters[spec.cluster],
        image=image or image_of(spec),
        proxy=PROXY_IMAGE if spec.container and spec.container.proxy else None,
        content_hash=None if spec.container else "ab" * 32,
        chart=chart,
        project=project.name,
        manifest=manifest.submitted,
        manifest_file="api.yaml",
    )


@functools.lru_cache
def helm() -> LibraryHelm:
    helm = LibraryHelm.load()
    assert helm is not None, "Helm's engine is the extra gitops-ml[helm]"
    return helm


def rendered(
    text: str | Mapping[str, Any],
    project: Project | None = None,
    environment: str = "staging",
    **options: Any,
) -> Rendered:
    """The release as Kubernetes objects; refuses, as the command does, what the checks refuse."""
    project = project or project_of()
    errors = errors_of(text, project, environment)
    assert not errors, errors
    spec = resolved(text, project, environment)
    written = text_of(text, project, environment, **options)
    values = load_yaml(written.values)
    objects = helm().template(CHART, release=spec.name, namespace=spec.namespace, values=values)
    return Rendered(spec, project.clusters[spec.cluster], written, values, objects)


def check_objects(objects: tuple[Mapping[str, Any], ...]) -> None:
    """Fail where an API server of ours, or of the operators, would refuse an object."""
    for item in objects:
        group = item["apiVersion"].partition("/")[0]
        is_own = "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway"))
        if is_own:
            for version in KUBERNETES_VERSIONS:
                kubernetes_validate.validate(item, version, strict=True)
        else:
            check_custom_resource(item)


def as_yaml(text: str) -> Any:
    """What PyYAML, a reader that is not ours, makes of a file of ours."""
    return yaml.safe_load(text)
