"""The Kubernetes objects of releases of this version's chart, rendered once for each content of the values."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, overload

from gitops_ml.delivery.rendering import manifest_texts, predictor_chart, render_manifests
from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.gitops.release_files import Release
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.policy.rule import KubernetesObjects
from gitops_ml.system.memory import Memory
from gitops_ml.system.memory import key as memory_key

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine

_DOCUMENT = "---\n"


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


@dataclass(frozen=True, slots=True)
class ToRender:
    """A release with its ``values.yaml``."""

    name: str
    namespace: str
    values: bytes

    @property
    def facts(self) -> tuple[str, str, str]:
        data = json.dumps(read_fields(self.values), ensure_ascii=False)
        return self.name, self.namespace, data

    @property
    def key(self) -> bytes:
        chart = predictor_chart().name
        return memory_key("objects", chart, self.name, self.namespace, self.values)


def checked_objects(
    releases: Iterable[Release], *, helm: HelmEngine, memory: Memory
) -> dict[str, PackedObjects]:
    """The objects of each release, by its directory.

    Raises:
        InvalidDocument: the chart refuses a release, or objects are not all that a release needs.
    """
    keys = {
        item.directory: memory_key(
            "whole", item.chart.name, item.name, item.namespace, item.text.data
        )
        for item in releases
    }
    known = memory.recall(keys.values())
    found = {at: PackedObjects(known[key]) for at, key in keys.items() if key in known}
    new = render_manifests((each for each in releases if each.directory not in found), helm=helm)
    made = {at: PackedObjects.of(_parsed(text.decode())) for at, text in new.items()}
    memory.keep({keys[at]: objects.text for at, objects in made.items()})
    return found | made


def _parsed(manifest: str) -> tuple[Mapping[str, Any], ...]:
    """The objects of a ``manifest.yaml``, each in a document of its own."""
    documents = manifest.removeprefix(_DOCUMENT).split(f"\n{_DOCUMENT}")
    return tuple(map(_object, filter(None, documents)))


@lru_cache(maxsize=1024)
def _object(document: str) -> Mapping[str, Any]:
    """Most objects of a release are the same before and after a change."""
    found: Mapping[str, Any] = load_yaml(document)
    return found


def objects_of(
    wanted: Mapping[str, ToRender], *, helm: HelmEngine, memory: Memory
) -> dict[str, PackedObjects]:
    """The objects of each release, by its directory; none where the chart refuses it."""
    keys = {directory: each.key for directory, each in wanted.items()}
    known = memory.recall(keys.values())
    new = [directory for directory, key in keys.items() if key not in known]
    texts = manifest_texts(helm, predictor_chart().name, [wanted[each].facts for each in new])
    rendered = {
        # The verb refuses it itself, or restores values of another time.
        directory: PackedObjects.of(_parsed(text) if isinstance(text, str) else ())
        for directory, text in zip(new, texts, strict=True)
    }
    memory.keep({keys[directory]: objects.text for directory, objects in rendered.items()})
    return {
        directory: rendered[directory] if directory in rendered else PackedObjects(known[key])
        for directory, key in keys.items()
    }
