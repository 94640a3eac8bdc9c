"""What the GitOps repository holds at one commit, in the form that plans compare with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gitops_ml.git.commits import RenderedFile, blob_id
from gitops_ml.git.repository import GitSnapshot
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import Destination
from gitops_ml.gitops.release_yaml import destination_of, images_of, project_of


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """The blob ids of all files, and the content of every ``release.yaml``."""

    blob_ids: Mapping[str, str]
    releases: Mapping[str, bytes]
    """By path."""
    snapshot: GitSnapshot | None
    """``None`` for an empty repository that is nowhere."""

    @classmethod
    def of(cls, snapshot: GitSnapshot) -> RepositoryState:
        blob_ids = snapshot.blob_ids()
        wanted = [
            path
            for path in blob_ids
            if path.startswith(f"{layout.RELEASES}/") and path.endswith(f"/{layout.RELEASE}")
        ]
        return cls(blob_ids, snapshot.read(wanted), snapshot)

    @classmethod
    def empty(cls) -> RepositoryState:
        return cls({}, {}, None)

    def read(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """The content of those of ``paths`` that exist."""
        return {} if self.snapshot is None else self.snapshot.read(paths)

    def directories(self) -> Iterator[tuple[str, bytes]]:
        """The directory of each release, with its ``release.yaml``."""
        for path, content in self.releases.items():
            yield path.removesuffix(f"/{layout.RELEASE}"), content

    def release_yaml(self, directory: str) -> bytes | None:
        return self.releases.get(f"{directory}/{layout.RELEASE}")

    def digests(self) -> dict[str, str]:
        """The digest of every image that is deployed, by ``repository:tag``."""
        found = {}
        for content in self.releases.values():
            for image in images_of(content):
                if image.digest:
                    found[f"{image.repository}:{image.tag}"] = image.digest
        return found

    def destinations(self, *, besides: str) -> dict[str, set[Destination]]:
        """Where releases of projects other than ``besides`` are deployed to, by team."""
        found: dict[str, set[Destination]] = {}
        for content in self.releases.values():
            destination = destination_of(content)
            if destination is not None and project_of(content) != besides:
                found.setdefault(destination[0], set()).add(destination[1])
        return found

    def has(self, file: RenderedFile) -> bool:
        """Whether the repository has exactly this file; git's blob ids decide, nothing is read."""
        known = self.blob_ids.get(file.path)
        return known is not None and known == blob_id(file.content, length=len(known))
