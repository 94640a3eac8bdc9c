"""Render releases: values and deployment ids, Kubernetes objects, ``manifest.yaml``."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from gitops_ml.documents.yaml_reader import load_all_yaml
from gitops_ml.errors import InvalidDocument, Problem, ProgramFailed
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release, ReleaseText, release_text
from gitops_ml.gitops.whole_release import faults_of_objects, faults_of_text
from gitops_ml.helm.charts import Chart, chart_path, read_chart
from gitops_ml.helm.many_releases import WantedRelease
from gitops_ml.image.planner import PlannedImage
from gitops_ml.oci.reference import ImageRef
from gitops_ml.release.proxy import PROXY
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.workspace.remembered import remembered
from gitops_ml.workspace.workspace import PlannedRelease, Workspace

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine

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
    return _checked(releases, helm, load_all_yaml, faults_of_objects)


def render_manifests(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, bytes]:
    """The ``manifest.yaml`` of each release, by its directory.

    Raises:
        InvalidDocument: the chart refuses a release, or a manifest does not hold all that one needs.
    """
    texts = _checked(releases, helm, str, faults_of_text)
    return {directory: text.encode() for directory, text in texts.items()}


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


def _checked(
    releases: Iterable[Release],
    helm: HelmEngine,
    read: Callable[[str], Made],
    faults_of: Callable[[Mapping[str, Any], Made], tuple[str, ...]],
) -> dict[str, Made]:
    """What is rendered for each release, by its directory, if it is whole."""
    found: dict[str, Made] = {}
    problems: list[Problem] = []
    by_chart: dict[str, list[Release]] = {}
    for item in releases:
        by_chart.setdefault(item.chart.name, []).append(item)
    for chart, items in by_chart.items():
        texts = manifest_texts(helm, chart, [(i.name, i.namespace, i.text.data) for i in items])
        for item, text in zip(items, texts, strict=True):
            if isinstance(text, ProgramFailed):
                problems.append(_refusal(item, text))
                continue
            found[item.directory] = made = read(text)
            problems += _faults(item.directory, faults_of(json.loads(item.text.data), made))
    if problems:
        raise InvalidDocument(problems)
    return found


_AT_A_TIME = 25
"""Releases that Helm renders in one call."""
_MOST_KNOWN = 4096
_known_texts: dict[bytes, bytes] = {}
"""Rules look at what was rendered a moment before."""


def manifest_texts(
    helm: HelmEngine, chart: str, releases: Sequence[tuple[str, str, str]]
) -> list[str | ProgramFailed]:
    """The manifest of each release with its name, namespace and values (JSON), or why Helm refuses it."""
    keys = [
        memory_key("text", f"{type(helm).__qualname__} {id(helm)}", chart, *each)
        for each in releases
    ]
    found: dict[bytes, str | ProgramFailed] = {
        key: zlib.decompress(_known_texts[key]).decode() for key in keys if key in _known_texts
    }
    new = [(key, each) for key, each in zip(keys, releases, strict=True) if key not in found]
    some = [new[at : at + _AT_A_TIME] for at in range(0, len(new), _AT_A_TIME)]

    def made(batch: Sequence[tuple[bytes, tuple[str, str, str]]]) -> list[str | ProgramFailed]:
        wanted = [WantedRelease(n, space, json.loads(data)) for _, (n, space, data) in batch]
        return helm.manifests(chart_path(chart), wanted)

    # Helm works outside of Python's lock, or in a process of its own: threads help.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(some) or 1)) as pool:
        for batch, texts in zip(some, pool.map(made, some), strict=True):
            found.update(zip((key for key, _ in batch), texts, strict=True))
    if len(_known_texts) > _MOST_KNOWN:
        _known_texts.clear()
    for key, _ in new:
        if isinstance(text := found[key], str):
            _known_texts[key] = zlib.compress(text.encode(), 1)
    return [found[key] for key in keys]


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
