"""Render the current release from the files of the GitOps repository, as Kubernetes objects.

Values and chart are those of the snapshot, so that the diff of a chart upgrade shows what it changes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gitops_ml.documents.yaml_reader import load_all_yaml, load_yaml
from gitops_ml.errors import GitopsMlError, ProgramFailed, RepositoryMoved
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.release_yaml import ReleaseRecord, read_fields, read_release
from gitops_ml.gitops.whole_release import faults_of_text
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.files import write_files

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine, Objects

_MOST_FILES = 500
_LARGEST = 8 << 20
"""Bytes of a chart, and characters of what it renders for one release."""


def current_objects(
    snapshot: GitSnapshot, directory: str, api: str, *, helm: HelmEngine
) -> Objects:
    """The objects of the current release; none where the API is not deployed yet.

    Raises:
        ProgramFailed: Helm refuses the values of the current release.
        RepositoryMoved: its files are damaged, or the repository lacks its chart.
    """
    paths = [f"{directory}/{name}" for name in (layout.MANIFEST, layout.VALUES, layout.RELEASE)]
    found = snapshot.read(paths)
    manifest, values, record = (found.get(path) for path in paths)
    if manifest is not None:
        try:
            return load_all_yaml(manifest)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RepositoryMoved(f"{paths[0]} in the GitOps repository is damaged") from error
    current = read_release(record) if record is not None else None
    if values is None or current is None:
        return ()
    with _chart(snapshot, current) as chart:
        return helm.template(
            chart, release=api, namespace=current.namespace, values=load_yaml(values)
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


def rendered_manifests(
    snapshot: GitSnapshot, directories: Iterable[str], *, helm: HelmEngine
) -> dict[str, bytes | GitopsMlError]:
    """The ``manifest.yaml`` of current releases by directory, or why there is none.

    Chart, values, name and namespace of each are what the snapshot has.
    """
    wanted = tuple(directories)
    names = (layout.RELEASE, layout.VALUES)
    content = snapshot.read(f"{each}/{name}" for each in wanted for name in names)
    found = {each: _current(content, each) for each in wanted}
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        charts = _written_charts(snapshot, found.values(), Path(folder))

        def manifest(item: _Current | GitopsMlError) -> bytes | GitopsMlError:
            if isinstance(item, GitopsMlError):
                return item
            chart = charts[item.record.chart, item.record.chart_version]
            return chart if isinstance(chart, GitopsMlError) else _manifest(item, chart, helm)

        # Helm works outside of Python's lock, or in a process of its own: threads help.
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, len(found) or 1)) as pool:
            return dict(zip(found, pool.map(manifest, found.values()), strict=True))


@dataclass(frozen=True, slots=True)
class _Current:
    record: ReleaseRecord
    values: Mapping[str, Any]


def _current(content: Mapping[str, bytes], directory: str) -> _Current | GitopsMlError:
    facts, values = (f"{directory}/{name}" for name in (layout.RELEASE, layout.VALUES))
    record, data = read_release(content.get(facts, b"")), read_fields(content.get(values))
    if record is None or record.directory != directory:
        return RepositoryMoved(f"{facts} in the GitOps repository is damaged")
    if not data:
        return RepositoryMoved(f"{values} in the GitOps repository is missing or damaged")
    return _Current(record, data)


def _written_charts(
    snapshot: GitSnapshot, found: Iterable[_Current | GitopsMlError], folder: Path
) -> dict[tuple[str, str], Path | GitopsMlError]:
    """The folder of each chart that releases are rendered with, by name and version."""
    charts: dict[tuple[str, str], Path | GitopsMlError] = {}
    for item in found:
        if isinstance(item, _Current):
            key = (item.record.chart, item.record.chart_version)
            if key not in charts:
                try:
                    charts[key] = _write_chart(snapshot, item.record, folder)
                except GitopsMlError as error:
                    charts[key] = error
    return charts


def _manifest(current: _Current, chart: Path, helm: HelmEngine) -> bytes | GitopsMlError:
    release, values = current.record, current.values
    path = f"{release.directory}/{layout.MANIFEST}"
    try:
        text = helm.manifest(chart, release=release.api, namespace=release.namespace, values=values)
        faults = faults_of_text(values, text) if len(text) <= _LARGEST else ("it is too large",)
    except (GitopsMlError, yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        # Charts and values of other projects are unchecked and may be broken in any way.
        reason = error.stderr if isinstance(error, ProgramFailed) else str(error)
        return RepositoryMoved(f"{path}: Helm renders nothing: {one_line(reason)}")
    return RepositoryMoved(f"{path}: {'; '.join(faults)}") if faults else text.encode()


@contextmanager
def _chart(snapshot: GitSnapshot, release: ReleaseRecord) -> Iterator[Path]:
    """The folder of the release's base chart, as files of the snapshot.

    Raises:
        RepositoryMoved: the repository has no such chart, or one beyond all bounds.
    """
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        yield _write_chart(snapshot, release, Path(folder))


def _write_chart(snapshot: GitSnapshot, release: ReleaseRecord, folder: Path) -> Path:
    prefix = layout.chart_directory(release.chart, release.chart_version)
    files = snapshot.blob_ids(f"{prefix}/")
    if f"{prefix}/Chart.yaml" not in files:
        raise RepositoryMoved(
            f"{prefix} is not in the GitOps repository, and {release.directory} is rendered with it: "
            "restore the folder from its history, or deploy the API again"
        )
    content = snapshot.read(files) if len(files) <= _MOST_FILES else {}
    if not content or sum(map(len, content.values())) > _LARGEST:
        raise RepositoryMoved(
            f"{prefix} in the GitOps repository has more than {_MOST_FILES} files or "
            f"{_LARGEST >> 20} MiB: that is no base chart of gitops-ml"
        )
    write_files(folder, content.items())
    return folder / prefix
