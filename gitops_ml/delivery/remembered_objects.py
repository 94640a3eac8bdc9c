"""The Kubernetes objects of releases of this version's chart, rendered once for each content of the values."""

from __future__ import annotations

import base64
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.delivery.rendering import predictor_chart, rendered_objects
from gitops_ml.errors import GitopsMlError
from gitops_ml.gitops.release_yaml import read_fields
from gitops_ml.system.memory import key as memory_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_ml.helm.engines import HelmEngine
    from gitops_ml.policy.rule import KubernetesObjects
    from gitops_ml.system.memory import Memory


@dataclass(frozen=True, slots=True)
class ToRender:
    """A release with its ``values.yaml``."""

    name: str
    namespace: str
    values: bytes

    @property
    def key(self) -> bytes:
        chart = predictor_chart().name
        return memory_key("objects", chart, self.name, self.namespace, self.values)


def objects_of(
    wanted: Mapping[str, ToRender], *, helm: HelmEngine, memory: Memory
) -> dict[str, KubernetesObjects]:
    """The objects of each release, by its directory; none where the chart refuses it."""
    keys = {directory: each.key for directory, each in wanted.items()}
    known = memory.recall(keys.values())
    new = [directory for directory, key in keys.items() if key not in known]
    # Helm works outside of Python's lock, or in a process of its own: threads help.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(new) or 1)) as pool:
        made = pool.map(lambda directory: _rendered(wanted[directory], helm), new)
        rendered = dict(zip(new, made, strict=True))
    memory.keep({keys[directory]: _packed(objects) for directory, objects in rendered.items()})
    return {
        directory: rendered[directory] if directory in rendered else _unpacked(known[key])
        for directory, key in keys.items()
    }


def _rendered(release: ToRender, helm: HelmEngine) -> KubernetesObjects:
    data = json.dumps(read_fields(release.values), ensure_ascii=False)
    chart = predictor_chart().name
    try:
        return rendered_objects(
            helm, chart, name=release.name, namespace=release.namespace, data=data
        )
    except GitopsMlError:
        # The verb refuses it itself, or restores values of another time.
        return ()


def _packed(objects: KubernetesObjects) -> str:
    """A fifth of the JSON: there may be ten thousand."""
    return base64.b64encode(zlib.compress(json.dumps(objects).encode(), 1)).decode()


def _unpacked(text: str) -> KubernetesObjects:
    return tuple(json.loads(zlib.decompress(base64.b64decode(text))))
