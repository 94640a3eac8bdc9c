"""Render releases: values and deployment ids, Kubernetes objects, ``manifest.yaml``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from gitops_ml.documents.yaml_reader import load_all_yaml
from gitops_ml.errors import InvalidDocument, Problem, ProgramFailed
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release, ReleaseText, release_text
from gitops_ml.gitops.whole_release import faults_of_objects, faults_of_text
from gitops_ml.helm.charts import Chart, chart_path, read_chart
from gitops_ml.release.proxy import PROXY
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.memory import key as memory_key
from gitops_ml.workspace.remembered import remembered

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.image.planner import PlannedImage
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.system.memory import Memory
    from gitops_ml.workspace.workspace import PlannedRelease, Workspace

Made = TypeVar("Made")
Objects = tuple[Mapping[str, object], ...]


@cache
def predictor_chart() -> Chart:
    """The base chart of every release."""
    return read_chart("predictor")


def make_releases(
    planned: Iterable[PlannedRelease], images: Mapping[str, PlannedImage], workspace: Workspace
) -> tuple[Release, ...]:
    """The releases with their deployment ids, in the order of the manifests."""
    wanted = [
        (
            plan,
            images[plan.directory].ref,
            images[PROXY].ref if plan.has_proxy else None,
            _hex(images[plan.directory]),
            workspace.source_path(plan.manifest),
        )
        for plan in planned
    ]
    keys = [
        memory_key("text", plan.key, str(image), str(proxy or ""), *others)
        for plan, image, proxy, *others in wanted
    ]
    texts = remembered(
        workspace.memory,
        zip(keys, wanted, strict=True),
        make=lambda item: (_text(*item), ()),
        facts=astuple,
        of_facts=lambda _, facts: ReleaseText(*facts),
    )
    return tuple(
        _release(plan, image, content_hash, text)
        for (plan, image, _, content_hash, _), (text, _) in zip(wanted, texts, strict=True)
    )


def make_release(
    plan: PlannedRelease,
    *,
    image: ImageRef,
    proxy: ImageRef | None,
    content_hash: str | None,
    manifest_file: str,
) -> Release:
    """The release with its deployment id."""
    text = _text(plan, image, proxy, content_hash, manifest_file)
    return _release(plan, image, content_hash, text)


def _text(
    plan: PlannedRelease,
    image: ImageRef,
    proxy: ImageRef | None,
    content_hash: str | None,
    manifest_file: str,
) -> ReleaseText:
    return release_text(
        plan.spec,
        plan.cluster,
        image=image,
        proxy=proxy,
        content_hash=content_hash,
        chart=predictor_chart(),
        project=plan.project.name,
        manifest=plan.manifest.submitted,
        manifest_file=manifest_file,
    )


def _release(
    plan: PlannedRelease, image: ImageRef, content_hash: str | None, text: ReleaseText
) -> Release:
    return Release(
        name=plan.name,
        environment=plan.environment.name,
        team=plan.team,
        namespace=plan.environment.namespace,
        image=image,
        content_hash=content_hash,
        chart=predictor_chart(),
        text=text,
    )


def _hex(image: PlannedImage) -> str | None:
    return image.content_hash.hex if image.content_hash else None


def render_objects(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, Objects]:
    """The Kubernetes objects of each release, by its directory.

    Raises:
        InvalidDocument: the chart refuses a release, or objects are not all that a release needs.
    """
    return _with_helm(releases, helm.template, faults_of_objects)


def render_manifests(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, bytes]:
    """The ``manifest.yaml`` of each release, by its directory.

    Raises:
        InvalidDocument: the chart refuses a release, or a manifest does not hold all that one needs.
    """
    texts = _with_helm(releases, partial(_manifest, helm), faults_of_text)
    return {directory: text.encode() for directory, text in texts.items()}


def _manifest(
    helm: HelmEngine, chart: Path, *, release: str, namespace: str, values: Mapping[str, Any]
) -> str:
    data = json.dumps(values, ensure_ascii=False)
    return _rendered_text(helm, chart, release, namespace, data)


@lru_cache(maxsize=4096)
def _rendered_text(helm: HelmEngine, chart: Path, release: str, namespace: str, data: str) -> str:
    """Rules look at what was rendered a moment before."""
    return helm.manifest(chart, release=release, namespace=namespace, values=json.loads(data))


def rendered_objects(
    helm: HelmEngine, chart: str, *, name: str, namespace: str, data: str
) -> tuple[Mapping[str, Any], ...]:
    """The objects of a release with these values (JSON) and a base chart of ours.

    Raises:
        ProgramFailed: the chart refuses the values.
    """
    return load_all_yaml(_rendered_text(helm, chart_path(chart), name, namespace, data))


def refuse_unrenderable(releases: Iterable[Release], *, helm: HelmEngine, memory: Memory) -> None:
    """Render the releases as Argo CD will, so that the chart refuses them before the commit.

    Raises:
        InvalidDocument: the chart refuses a release, or objects are not all that a release needs.
    """
    keys = {
        memory_key("renders", item.chart.name, item.name, item.namespace, item.text.data): item
        for item in releases
    }
    known = memory.recall(keys)
    new = {key: item for key, item in keys.items() if key not in known}
    if new:
        render_manifests(new.values(), helm=helm)
        memory.keep(dict.fromkeys(new, "rendered"))


def _with_helm(
    releases: Iterable[Release],
    render: Callable[..., Made],
    faults_of: Callable[[Mapping[str, Any], Made], tuple[str, ...]],
) -> dict[str, Made]:
    def made(item: Release) -> tuple[Made | None, tuple[Problem, ...]]:
        values = json.loads(item.text.data)
        try:
            rendered = render(
                chart_path(item.chart.name),
                release=item.name,
                namespace=item.namespace,
                values=values,
            )
        except ProgramFailed as failure:
            return None, (_refusal(item, failure),)
        return rendered, _faults(item.directory, faults_of(values, rendered))

    releases = tuple(releases)
    # Helm works outside of Python's lock, or in a process of its own: threads help.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(releases) or 1)) as pool:
        found = tuple(zip(releases, pool.map(made, releases), strict=True))
    if problems := [each for _, (_, problems) in found for each in problems]:
        raise InvalidDocument(problems)
    return {item.directory: done for item, (done, _) in found if done is not None}


_SENTENCE = re.compile(r"execution error at \([^)]*\): (.+)", re.S)


def _refusal(release: Release, failure: ProgramFailed) -> Problem:
    """What Helm says of a release that it does not render, without the stack of templates."""
    match = _SENTENCE.search(failure.stderr)
    sentence = one_line(match[1] if match else failure.stderr)
    message = f"the chart {release.chart.name} refuses the release {release.name}: {sentence}"
    return Problem(f"{release.directory}/{layout.VALUES}", 0, 0, "", message, rule="chart")


def refuse_faults(faults: Mapping[str, Iterable[str]]) -> None:
    """Refuse a release that is not whole: Argo CD would delete what is missing.

    Raises:
        InvalidDocument: there is a fault, by directory of the release.
    """
    found = (problem for directory, each in faults.items() for problem in _faults(directory, each))
    if problems := tuple(found):
        raise InvalidDocument(problems)


def _faults(directory: str, faults: Iterable[str]) -> tuple[Problem, ...]:
    return tuple(
        Problem(
            f"{directory}/{layout.MANIFEST}",
            *(0, 0, ""),
            f"{fault}. Argo CD deletes what is missing, so nothing is committed; annotations and "
            "labels that Helm or Argo CD act on are the usual cause: remove them",
            rule="whole",
        )
        for fault in faults
    )
