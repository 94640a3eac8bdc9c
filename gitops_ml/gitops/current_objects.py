"""Render the current release from the files of the GitOps repository, as Kubernetes objects.

Values and chart are those of the snapshot, so that the diff of a chart upgrade shows what it changes.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_ml.documents.yaml_reader import load_all_yaml, load_yaml
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import read_release
from gitops_ml.system.files import write_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.git.repository import GitSnapshot
    from gitops_ml.gitops.release_files import Release
    from gitops_ml.gitops.release_yaml import ReleaseRecord
    from gitops_ml.helm.engines import HelmEngine, Objects


def current_objects(snapshot: GitSnapshot, release: Release, *, helm: HelmEngine) -> Objects:
    """The objects of the current release; none where the API is not deployed yet.

    Raises:
        ProgramFailed: Helm refuses the values of the current release.
    """
    paths = [
        f"{release.directory}/{name}" for name in (layout.MANIFEST, layout.VALUES, layout.RELEASE)
    ]
    found = snapshot.read(paths)
    manifest, values, record = (found.get(path) for path in paths)
    if manifest is not None:
        return load_all_yaml(manifest)
    current = read_release(record) if record is not None else None
    if values is None or current is None:
        return ()
    with _chart(snapshot, current) as chart:
        return helm.template(
            chart, release=release.name, namespace=current.namespace, values=load_yaml(values)
        )


def render_manifest(
    snapshot: GitSnapshot, release: ReleaseRecord, values: str, *, helm: HelmEngine
) -> str:
    """The ``manifest.yaml`` of a release: its chart from the snapshot, with these values.

    Raises:
        ProgramFailed: Helm refuses the values.
    """
    with _chart(snapshot, release) as chart:
        return helm.manifest(
            chart, release=release.api, namespace=release.namespace, values=load_yaml(values)
        )


@contextmanager
def _chart(snapshot: GitSnapshot, release: ReleaseRecord) -> Iterator[Path]:
    """The folder of the release's base chart, as files of the snapshot."""
    prefix = layout.chart_directory(release.chart, release.chart_version)
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        chart = snapshot.read(snapshot.blob_ids(f"{prefix}/"))
        write_files(Path(folder), chart.items())
        yield Path(folder) / prefix
