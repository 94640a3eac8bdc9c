"""Render releases: values and deployment ids, Kubernetes objects, ``manifest.yaml``."""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from gitops_ml.documents.yaml_reader import load_all_yaml, load_yaml
from gitops_ml.errors import InvalidDocument, Problem, ProgramFailed
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_files import Release, ReleaseText, release_text
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.gitops.whole_release import faults_of_text
from gitops_ml.helm.charts import Chart, chart_path, read_chart
from gitops_ml.helm.engines import WantedRelease
from gitops_ml.image.planner import PlannedImage
from gitops_ml.oci.reference import ImageRef
from gitops_ml.policy.rule import KubernetesObjects
from gitops_ml.release.proxy import PROXY
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key
from gitops_ml.workspace.remembered import remembered
from gitops_ml.workspace.workspace import PlannedRelease, Workspace

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine

Objects = tuple[Mapping[str, object], ...]


@cache
def predictor_chart() -> Chart:
    """The base chart of every release."""
    return read_chart("predictor")


class ReleaseParts(NamedTuple):
    """What a release is made of."""

    plan: PlannedRelease
    image: ImageRef
    proxy: ImageRef | None
    content_hash: str | None
    """Of the inputs of the image, in hex."""
    manifest_file: str


def make_releases(
    planned: Iterable[PlannedRelease], images: Mapping[str, PlannedImage], workspace: Workspace
) -> tuple[Release, ...]:
    """The releases with their deployment ids, in the order of the manifests."""
    wanted = []
    for plan in planned:
        image, proxy = images[plan.directory], images[PROXY].ref if plan.has_proxy else None
        hashed = image.content_hash.hex if image.content_hash else None
        source = workspace.source_path(plan.manifest)
        wanted.append(ReleaseParts(plan, image.ref, proxy, hashed, source))
    keys = [
        memory_key("text", plan.key, str(image), str(proxy or ""), *others)
        for plan, image, proxy, *others in wanted
    ]
    texts = remembered(
        workspace.memory,
        zip(keys, wanted, strict=True),
        make=lambda parts: (_text(parts), ()),
        facts=astuple,
        of_facts=lambda _, facts: ReleaseText(*facts),
    )
    return tuple(_release(parts, text) for parts, (text, _) in zip(wanted, texts, strict=True))


def make_release(parts: ReleaseParts) -> Release:
    """The release with its deployment id."""
    return _release(parts, _text(parts))


def _text(parts: ReleaseParts) -> ReleaseText:
    plan, image, proxy, content_hash, manifest_file = parts
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


def _release(parts: ReleaseParts, text: ReleaseText) -> Release:
    plan = parts.plan
    return Release(
        name=plan.name,
        environment=plan.environment.name,
        team=plan.team,
        namespace=plan.environment.namespace,
        image=parts.image,
        content_hash=parts.content_hash,
        chart=predictor_chart(),
        text=text,
    )


def render_objects(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, Objects]:
    """The Kubernetes objects of each release, by its directory."""
    found = render_manifests(releases, helm=helm)
    return {directory: load_all_yaml(text) for directory, text in found.items()}


def render_manifests(releases: Iterable[Release], *, helm: HelmEngine) -> dict[str, bytes]:
    """The ``manifest.yaml`` of each release, by its directory."""
    found, problems = _manifests(releases, helm)
    if problems:
        raise InvalidDocument(problems)
    return {directory: text.encode() for directory, text in found.items()}


def _manifests(
    releases: Iterable[Release], helm: HelmEngine
) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """The ``manifest.yaml`` of each release by its directory, and why others have none that is whole."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    by_chart: dict[str, list[Release]] = {}
    for item in releases:
        by_chart.setdefault(item.chart.name, []).append(item)
    for chart, items in by_chart.items():
        texts = manifest_texts(helm, chart, [(i.name, i.namespace, i.text.data) for i in items])
        for item, text in zip(items, texts, strict=True):
            if isinstance(text, ProgramFailed):
                problems.append(_refusal(item, text))
            elif faults := faults_of_text(json.loads(item.text.data), text):
                problems += _faults(item.directory, faults)
            else:
                found[item.directory] = text
    return found, tuple(problems)


def refuse_unrenderable(releases: Iterable[Release], *, helm: HelmEngine, memory: Memory) -> None:
    """Render the releases as Argo CD will, so that the chart refuses them before the commit."""
    keys = {
        memory_key("renders", item.chart.name, item.name, item.namespace, item.text.data): item
        for item in releases
    }
    known = memory.recall(keys)
    new = {key: item for key, item in keys.items() if key not in known}
    if new:
        render_manifests(new.values(), helm=helm)
        memory.keep(dict.fromkeys(new, "rendered"))


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
    """Refuse a release that is not whole: Argo CD would delete what is missing."""
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


# -- objects, once for each content of the values --------------------------------------------------


@dataclass(frozen=True, slots=True)
class PackedObjects(Sequence[Mapping[str, Any]]):
    """Kubernetes objects in a thirtieth of their memory: a change may have thousands of releases."""

    text: str

    @classmethod
    def of(cls, objects: KubernetesObjects) -> PackedObjects:
        data = json.dumps(tuple(objects)).encode()
        return cls(base64.b64encode(zlib.compress(data, 1)).decode())

    @overload
    def __getitem__(self, at: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, at: Any) -> Any:
        return _unpacked(self.text)[at]

    def __len__(self) -> int:
        return len(_unpacked(self.text))


@lru_cache(maxsize=16)
def _unpacked(text: str) -> tuple[Mapping[str, Any], ...]:
    """Rules look at the objects of one release after each other."""
    return tuple(json.loads(zlib.decompress(base64.b64decode(text))))


def checked_objects(
    releases: Iterable[Release], *, helm: HelmEngine, memory: Memory
) -> tuple[dict[str, PackedObjects], tuple[Problem, ...]]:
    """The objects of each release by its directory; and why the chart refuses others, or they are not whole."""
    releases = tuple(releases)
    keys = {
        item.directory: memory_key(
            "whole", item.chart.name, item.name, item.namespace, item.text.data
        )
        for item in releases
    }
    known = memory.recall(keys.values())
    found = {at: PackedObjects(known[key]) for at, key in keys.items() if key in known}
    new, problems = _manifests((each for each in releases if each.directory not in found), helm)
    made = {at: PackedObjects.of(_parsed(text)) for at, text in new.items()}
    memory.keep({keys[at]: objects.text for at, objects in made.items()})
    return found | made, problems


def _parsed(manifest: str) -> tuple[Mapping[str, Any], ...]:
    """The objects of a ``manifest.yaml``, each in a document of its own."""
    documents = manifest.removeprefix("---\n").split("\n---\n")
    return tuple(map(_object, filter(None, documents)))


@lru_cache(maxsize=1024)
def _object(document: str) -> Mapping[str, Any]:
    """Most objects of a release are the same before and after a change."""
    found: Mapping[str, Any] = load_yaml(document)
    return found


def objects_of(
    wanted: Mapping[str, tuple[str, str, bytes]], *, helm: HelmEngine, memory: Memory
) -> dict[str, PackedObjects]:
    """The objects of each release, by its directory; none where the chart refuses it.

    ``wanted`` has name, namespace and ``values.yaml``.
    """
    chart = predictor_chart().name
    keys = {at: memory_key("objects", chart, *each) for at, each in wanted.items()}
    known = memory.recall(keys.values())
    found = {at: PackedObjects(known[key]) for at, key in keys.items() if key in known}
    new = {at: each for at, each in wanted.items() if at not in found}
    texts = manifest_texts(
        helm,
        chart,
        [
            (name, namespace, json.dumps(read_fields(values), ensure_ascii=False))
            for name, namespace, values in new.values()
        ],
    )
    made = {
        # The verb refuses it itself, or restores values of another time.
        at: PackedObjects.of(_parsed(text) if isinstance(text, str) else ())
        for at, text in zip(new, texts, strict=True)
    }
    memory.keep({keys[at]: objects.text for at, objects in made.items()})
    return found | made
