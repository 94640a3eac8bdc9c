"""What runs now, as Kubernetes objects: rendered from the GitOps repository's own files.

The values and the chart of the snapshot are used, not ours: a chart upgrade shows what it changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.adapters.files import write_files
from gitops_ml.core import layout
from gitops_ml.core.changes import RenderedFile
from gitops_ml.core.own_yaml import load_all_yaml, load_yaml

if TYPE_CHECKING:
    from gitops_ml.core.render import Release
    from gitops_ml.ports import HelmEngine, Snapshot

Objects = tuple[Mapping[str, Any], ...]


def standing_objects(snapshot: Snapshot, release: Release, *, helm: HelmEngine) -> Objects:
    """The objects of the release as it stands; none where it is not deployed yet.

    Raises:
        ProgramFailed: Helm refuses what stands there.
    """
    paths = [
        f"{release.directory}/{name}" for name in (layout.MANIFEST, layout.VALUES, layout.RELEASE)
    ]
    found = snapshot.read(paths)
    manifest, values, facts = (found.get(path) for path in paths)
    if manifest is not None:
        return load_all_yaml(manifest)
    if values is None or facts is None:
        return ()
    return _rendered(snapshot, release, load_yaml(values), facts, helm)


def _rendered(
    snapshot: Snapshot, release: Release, values: Any, facts: bytes, helm: HelmEngine
) -> Objects:
    described = load_yaml(facts)
    chart_name, version = described["chart"]["name"], described["chart"]["version"]
    prefix = layout.chart_directory(chart_name, version)
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        chart = snapshot.read(p for p in snapshot.blob_ids() if p.startswith(f"{prefix}/"))
        write_files(Path(folder), [RenderedFile(path, text) for path, text in chart.items()])
        return helm.template(
            Path(folder) / prefix,
            release=release.name,
            namespace=described["namespace"],
            values=values,
        )
