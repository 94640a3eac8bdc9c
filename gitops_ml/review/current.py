"""The releases of the GitOps repository as the state that a check compares the source with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_ml.delivery.derive import parse_release
from gitops_ml.delivery.release_changes import left_behind, with_refreshes
from gitops_ml.delivery.rendering import Objects, predictor_chart
from gitops_ml.delivery.repository_state import RepositoryState
from gitops_ml.documents.yaml_reader import load_all_yaml
from gitops_ml.errors import GitopsMlError
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.current_objects import rendered_manifests
from gitops_ml.gitops.release_files import Release, ReleaseText
from gitops_ml.gitops.release_yaml import (
    ReleaseRecord,
    as_text,
    read_fields,
    read_release,
    split_provenance,
)
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.planner import PlannedImage
from gitops_ml.review.read_states import States
from gitops_ml.review.sides import StateReleases
from gitops_ml.workspace.workspace import PlannedRelease

if TYPE_CHECKING:
    from gitops_ml.helm.engines import HelmEngine


def current_states(after: StateReleases, state: RepositoryState) -> States:
    """The current releases, and those of the source, as far as the two differ."""
    _as_current(after, state)
    workspace = after.workspace
    gone = left_behind(state, workspace, workspace.directories())
    counts = Counter(
        directory.split("/")[1]
        for directory in (*after.releases, *gone)
        if state.release_yaml(directory)
    )
    before = StateReleases(workspace=workspace, folder=after.folder, sizes={})
    values = state.read(f"{each}/{layout.VALUES}" for each in (*after.releases, *gone))
    differing = [
        each for each in after.releases if not _is_same(after.releases[each], state, values)
    ]
    for directory in (*differing, *gone):
        _add(before, directory, state, values)
    after.releases = {each: after.releases[each] for each in differing}
    return States(before=before, after=after, counts=counts)


def _as_current(after: StateReleases, state: RepositoryState) -> None:
    """Give the releases the digests and refreshes that the GitOps repository knows."""
    known = state.digests()
    for directory, image in after.images.items():
        name = str(replace(image.ref, digest=None))
        if image.content_hash and name in known:
            after.images[directory] = image.with_digest(known[name])
    after.make()
    releases = with_refreshes(after.releases.values(), state)
    after.releases = {each.directory: each for each in releases}


def _is_same(release: Release, state: RepositoryState, values: Mapping[str, bytes]) -> bool:
    content = state.release_yaml(release.directory)
    return (
        content is not None
        and values.get(f"{release.directory}/{layout.VALUES}") == release.text.values.encode()
        and split_provenance(content)[0] == release.text.facts
    )


def _add(
    before: StateReleases, directory: str, state: RepositoryState, values: Mapping[str, bytes]
) -> None:
    """One current release; a damaged one counts as if it were not there."""
    content = state.release_yaml(directory)
    record = read_release(content) if content is not None else None
    own = values.get(f"{directory}/{layout.VALUES}")
    if record is None or own is None or record.environment not in before.project.environments:
        return
    try:
        manifest, _ = parse_release(record, record.manifest)
    except GitopsMlError:
        return
    place = before.project.environments[record.environment]
    before.planned[directory] = PlannedRelease(manifest, before.project, place, record.team)
    hashed = ContentHash(record.content_hash) if record.content_hash else None
    before.images[directory] = PlannedImage(record.image, hashed)
    before.releases[directory] = _release(record, own)


def _release(record: ReleaseRecord, values: bytes) -> Release:
    text = ReleaseText(
        deployment_id=record.deployment_id,
        values=as_text(values),
        facts=split_provenance(record.text)[0],
        data=json.dumps(read_fields(values), ensure_ascii=False),
    )
    return Release(
        name=record.api,
        environment=record.environment,
        team=record.team,
        namespace=record.namespace,
        image=record.image,
        content_hash=record.content_hash,
        chart=predictor_chart(),
        text=text,
    )


def current_objects_of(
    snapshot: GitSnapshot, directories: Iterable[str], helm: HelmEngine
) -> dict[str, Objects]:
    """The objects of current releases, each with its own chart; none of one that Helm refuses."""
    found = rendered_manifests(snapshot, directories, helm=helm)
    return {
        directory: load_all_yaml(text)
        for directory, text in found.items()
        if isinstance(text, bytes)
    }
