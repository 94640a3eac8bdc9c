"""What runs now, as Kubernetes objects: rendered from the GitOps repository's own files.

The values and the chart of the snapshot are used, not ours: a chart upgrade shows what it changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_ml.documents.yaml_load import load_all_yaml, load_yaml
from gitops_ml.gitops import layout
from gitops_ml.system.files import write_files

if TYPE_CHECKING:
    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.helm.engines import HelmEngine

Objects = tuple[Mapping[str, Any], ...]


def standing_objects(snapshot: GitSnapshot, release: Release, *, helm: HelmEngine) -> Objects:
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


def standing_manifest(
    snapshot: GitSnapshot, release: ReleaseRecord, values: str, *, helm: HelmEngine
) -> str:
    """The ``manifest.yaml`` of a release: its chart as the snapshot has it, with these values.

    Raises:
        ProgramFailed: Helm refuses the values.
    """
    with _chart(snapshot, release.chart, release.chart_version) as chart:
        return helm.manifest(
            chart, release=release.api, namespace=release.namespace, values=load_yaml(values)
        )


def _rendered(
    snapshot: GitSnapshot, release: Release, values: Any, facts: bytes, helm: HelmEngine
) -> Objects:
    described = load_yaml(facts)
    chart_name, version = described["chart"]["name"], described["chart"]["version"]
    with _chart(snapshot, chart_name, version) as chart:
        return helm.template(
            chart, release=release.name, namespace=described["namespace"], values=values
        )


@contextmanager
def _chart(snapshot: GitSnapshot, name: str, version: str) -> Iterator[Path]:
    """A base chart of the snapshot as files."""
    prefix = layout.chart_directory(name, version)
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        chart = snapshot.read(snapshot.blob_ids(f"{prefix}/"))
        write_files(Path(folder), chart.items())
        yield Path(folder) / prefix
