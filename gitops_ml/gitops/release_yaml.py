"""A release as it stands in the GitOps repository: its ``release.yaml``, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from gitops_ml.documents.yaml_load import load_yaml
from gitops_ml.gitops import layout
from gitops_ml.oci.reference import ImageRef

_MANIFEST, _PROVENANCE = "\nmanifest_file:", "\nprovenance:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """How often a deployment was rolled out anew with nothing changed."""

    of: str
    """The deployment id without any refresh."""
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord:
    """What one ``release.yaml`` says."""

    api: str
    environment: str
    team: str
    namespace: str
    server: str
    project: str
    deployment_id: str
    chart: str
    chart_version: str
    image: ImageRef
    content_hash: str | None
    refresh: Refresh | None
    text: str = field(repr=False, compare=False)

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The API as it was submitted."""
        return _mapping(self._details().get("manifest"))

    @property
    def manifest_file(self) -> str:
        """Relative to the source project."""
        return str(self._details()["manifest_file"])

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the deployment came from."""
        return _mapping(self._details().get("provenance"))

    def _details(self) -> Mapping[str, Any]:
        return _mapping(load_yaml(self.text))


def read_release(content: bytes) -> ReleaseRecord | None:
    """The release of a ``release.yaml``; `None` where it is none that we would have written.

    The manifest is read when somebody asks: there may be thousands of files.
    """
    text = content.decode(errors="replace")
    return _release(text.partition(_MANIFEST)[0], text) or _release(text, text)


def read_values(content: bytes | None) -> Mapping[str, Any]:
    """The data of a ``values.yaml``; none where somebody left it unreadable."""
    try:
        data = load_yaml(content or b"")
    except yaml.YAMLError:
        return {}
    return data if isinstance(data, Mapping) else {}


def _release(part: str, text: str) -> ReleaseRecord | None:
    try:
        facts = load_yaml(part)
        image, chart = facts["image"], facts["chart"]
        refresh = facts.get("refresh")
        return ReleaseRecord(
            api=str(facts["name"]),
            environment=str(facts["environment"]),
            team=str(facts["team"]),
            namespace=str(facts["namespace"]),
            server=str(facts["server"]),
            project=str(facts.get("project") or ""),
            deployment_id=str(facts["deployment_id"]),
            chart=str(chart["name"]),
            chart_version=str(chart["version"]),
            image=ImageRef(image["repository"], image.get("tag"), image.get("digest")),
            content_hash=facts.get("content_hash"),
            refresh=Refresh(of=refresh["of"], number=int(refresh["number"])) if refresh else None,
            text=text,
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
