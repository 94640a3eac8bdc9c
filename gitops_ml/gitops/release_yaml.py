"""Read `release.yaml`, the record of a release in the GitOps repository, and the deployment id in it.

A repository may hold thousands of releases. So there are two ways to read one: `read_release` parses the
whole record, and the functions that end in `_of` find one field by its pattern, which is 15 to 250 times
faster. What people write in a manifest is indented in the file, so that no line of it looks like one
of these fields.

The deployment id is one name for the pods of one release, sent with every prediction. A refresh rolls out the same
deployment again: the id is a label of the pods, so another id causes a rollout. The record has the refreshed
deployment and the number of refreshes. A later `deploy` of the same deployment keeps the refreshed id, so that it
neither reverts the refresh nor rolls out again. Any other deployment starts without it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from gitops_ml.documents.plain_data import within
from gitops_ml.documents.yaml_reader import load_yaml
from gitops_ml.documents.yaml_writer import write_yaml
from gitops_ml.gitops import layout
from gitops_ml.gitops.argo import Destination
from gitops_ml.oci.reference import ImageRef
from gitops_ml.system.clean_text import one_line

_BLOCK = re.compile(r"^refresh:\n(?:  .*\n)+", re.M)


def deployment_id(api: str, pods: Mapping[str, Any]) -> str:
    """``<api>-<12 hex>`` over the canonical form of what decides the pods.

    ``pods`` holds the part of the values that reaches the pods (`pod_part`), which has the image's digest,
    and the version of the chart's pod template. Equal pods have equal ids on every machine. What leaves
    the pods alone (scaling, routes, labels of people, the namespace) leaves the id alone.
    """
    canonical = json.dumps(pods, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{api}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh of a deployment, with the deployment id that replaces another one."""

    api: str
    of: str
    """The deployment id without any refresh."""
    number: int

    @property
    def deployment_id(self) -> str:
        return deployment_id(self.api, {"of": self.of, "refresh": self.number})

    def values(self, text: str, *, before: str) -> str:
        """``values.yaml`` with the id ``before`` replaced by this one; nothing else changes."""
        return text.replace(
            f"\n  deploymentId: {before}\n", f"\n  deploymentId: {self.deployment_id}\n", 1
        )

    def facts(self, text: str, *, before: str) -> str:
        """``release.yaml`` with the id replaced and the refresh recorded."""
        record = f"refresh:\n  of: {self.of}\n  number: {self.number}\n"
        # The manifest of the API is indented, so that none of its lines matches.
        return _BLOCK.sub("", text, count=1).replace(
            f"\ndeployment_id: {before}\n", f"\ndeployment_id: {self.deployment_id}\n{record}", 1
        )


REFRESH = b"\nrefresh:\n"
"""In every ``release.yaml`` with a refresh; found faster than by a parse."""
_MANIFEST = "\nmanifest_file:"
_PROVENANCE = "provenance:\n"
_FIRST = (
    "name", "environment", "team", "namespace", "server", "project", "deployment_id", "refresh", "chart",
    "image",
)  # fmt: skip
"""The fields that each ``release.yaml`` begins with, in this order."""
_IMAGES, _OF_IMAGE = ("image", "proxy"), ("repository", "tag", "digest")
_HEAD = re.compile(
    r"name: \S+\nenvironment: \S+\nteam: \S+\nnamespace: \S+\nserver: \S+\n(project: .*\n)?"
    r"deployment_id: .+\n(refresh:\n(  .+\n)+)?chart:\n  name: \S+\n  version: \S+\nimage:\n|api:\n  name: "
)
_FOREIGN = re.compile(r"\n\w+: [\[{&*!'|>]")
_ALIAS = re.compile(r"(?:^|[\s\[{,])\*[^\s,\[\]{}]", re.M)
_DEPLOYMENT_ID = re.compile(r"^deployment_id: (\S+)$", re.M)
_PROJECT = re.compile(r"^project: (.+)$", re.M)
_DESTINATION = re.compile(
    r'^team: "?(?P<team>[^\s"]+)"?\nnamespace: "?(?P<namespace>[^\s"]+)"?\n'
    r'server: "?(?P<server>[^\s"]+)"?$',
    re.M,
)
_CHART = re.compile(r"^chart:\n  name: (?P<name>\S+)\n  version: (?P<version>\S+)$", re.M)
_IMAGE = re.compile(
    r'^(?:image|proxy):\n  repository: "?(?P<repository>[^\s"]+)"?\n  tag: (?:null|"?(?P<tag>[^\s"]+)"?)\n'
    r'  digest: "?(?P<digest>sha256:[0-9a-f]{64})"?$',
    re.M,
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The source of a deployment; written when the deployment id changes, kept otherwise."""

    repository: str | None
    commit: str | None
    is_dirty: bool | None
    """Whether the source had uncommitted changes; ``None`` where that is unknown."""
    author: str
    tool_version: str
    origin: Mapping[str, Any] | None = None
    """The source where it is not a checkout: a notebook's cell, a step of a flow."""
    changed: tuple[str, ...] = ()
    """Files with uncommitted changes, for messages; ``release.yaml`` does not have them."""

    def fields(self) -> dict[str, Any]:
        """Its fields in ``release.yaml``."""
        fields = {
            "repository": self.repository,
            "commit": self.commit,
            "dirty": self.is_dirty,
            "author": self.author,
            "gitops_ml": self.tool_version,
        }
        return {**fields, "origin": dict(self.origin)} if self.origin else fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord:
    """The content of one ``release.yaml``."""

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
    proxy: ImageRef | None
    """The image of the proxy before a ready-made container, where it has one."""
    content_hash: str | None
    refresh: Refresh | None
    text: str = field(repr=False, compare=False)

    @property
    def directory(self) -> str:
        return layout.release_directory(self.environment, self.api)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The API as it was submitted."""
        return within(read_fields(self.text), "manifest")

    @property
    def manifest_file(self) -> str:
        """Relative to the source project."""
        return str(read_fields(self.text)["manifest_file"])

    @property
    def next_refresh(self) -> Refresh:
        """The refresh that follows the current one."""
        if self.refresh is None:
            return Refresh(self.api, self.deployment_id, 1)
        return replace(self.refresh, number=self.refresh.number + 1)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the deployment came from."""
        return within(read_fields(self.text), "provenance")


def without_manifest(facts: str) -> str:
    """A record without the manifest as it was submitted, and what follows it."""
    return facts.partition(_MANIFEST)[0]


def origin_of(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name and text of each fact about a source that is not a checkout, in the recorded order."""
    origin = within(provenance, "origin")
    return tuple((one_line(str(name)), one_line(str(value))) for name, value in origin.items())


def read_release(content: bytes) -> ReleaseRecord | None:
    """The release of a ``release.yaml``; `None` where a field is missing or not valid.

    The manifest is parsed only when it is needed.
    """
    text = as_text(content)
    return _release(text.partition(_MANIFEST)[0], text) or _release(text, text)


def read_fields(content: bytes | str | None) -> Mapping[str, Any]:
    """The fields of a ``release.yaml`` or ``values.yaml``; empty where the file is missing or is not YAML."""
    try:
        return within(load_yaml(content or b""))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}


def as_text(content: bytes | str | None) -> str:
    """The text of a file: empty for a missing file, with U+FFFD for bytes that are not UTF-8."""
    return content.decode(errors="replace") if isinstance(content, bytes) else content or ""


def own_text(content: bytes | str | None) -> str:
    """A ``release.yaml`` or ``values.yaml`` as gitops-ml writes it, whatever an editor or formatter made of it.

    The patterns of this room match that text only: without CRLF, other quotes or flow style.
    """
    text = as_text(content)
    is_own = not text or (_HEAD.match(text) and "\r" not in text and not _FOREIGN.search(text))
    # What aliases repeat would be written out: a few lines may stand for gigabytes.
    return text if is_own or _ALIAS.search(text) else _rewritten(text)


@functools.lru_cache(maxsize=256)
def _rewritten(text: str) -> str:
    fields = read_fields(text)
    if "deployment_id" in fields:
        fields = _in_order(fields, _FIRST, last="provenance")
        images = {key: _in_order(fields[key], _OF_IMAGE) for key in _IMAGES if fields.get(key)}
        fields = {**fields, **images}
    return write_yaml(fields) if fields else text


def _in_order(value: Any, first: Iterable[str], *, last: str = "") -> dict[str, Any]:
    found = within(value)
    begin = {name: found[name] for name in first if name in found}
    end = {last: found[last]} if last in found else {}
    return {**begin, **{key: each for key, each in found.items() if key != last}, **end}


def deployment_id_of(content: bytes | str | None) -> str | None:
    match = _DEPLOYMENT_ID.search(own_text(content))
    return match[1] if match else None


def project_of(content: bytes | str | None) -> str | None:
    match = _PROJECT.search(own_text(content))
    return match[1].strip('"') if match else None


def destination_of(content: bytes | str | None) -> tuple[str, Destination] | None:
    """The team, and the destination of its release."""
    match = _DESTINATION.search(own_text(content))
    return (match["team"], (match["server"], match["namespace"])) if match else None


def rendered_as(content: bytes | str | None) -> tuple[Any, ...]:
    """What of the record decides the objects, besides the values: chart, team and destination."""
    chart = _CHART.search(own_text(content))
    return (chart and chart.groups(), destination_of(content))


def chart_of(content: bytes | str | None) -> str | None:
    """Name and version of the chart: ``predictor/0.2.0``."""
    match = _CHART.search(own_text(content))
    return "/".join(each.strip('"') for each in match.groups()) if match else None


def image_of(content: bytes | str | None) -> ImageRef | None:
    """The image; `None` where it has no digest."""
    match = _IMAGE.search(own_text(content))
    if match is None or not match[0].startswith("image"):
        return None
    return ImageRef(match["repository"], match["tag"], match["digest"])


def images_of(content: bytes | str | None) -> tuple[ImageRef, ...]:
    """The images with a digest: that of the API, and that of its proxy."""
    text = without_manifest(own_text(content))
    found = _IMAGE.finditer(text)
    return tuple(ImageRef(each["repository"], each["tag"], each["digest"]) for each in found)


def split_provenance(content: bytes | str | None) -> tuple[str, str]:
    """The text before the provenance, and the provenance, which is the last block; empty without one."""
    text = own_text(content)
    head, mark, tail = text.rpartition("\n" + _PROVENANCE)
    return (f"{head}\n", _PROVENANCE + tail) if mark else (text, "")


def _release(part: str, text: str) -> ReleaseRecord | None:
    try:
        fields = load_yaml(part)
        image, chart = fields["image"], fields["chart"]
        return ReleaseRecord(
            api=str(fields["name"]),
            environment=str(fields["environment"]),
            team=str(fields["team"]),
            namespace=str(fields["namespace"]),
            server=str(fields["server"]),
            project=str(fields.get("project") or ""),
            deployment_id=str(fields["deployment_id"]),
            chart=str(chart["name"]),
            chart_version=str(chart["version"]),
            image=_image(image),
            proxy=_image(fields["proxy"]) if fields.get("proxy") else None,
            content_hash=fields.get("content_hash"),
            refresh=_refresh(fields),
            text=text,
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return None


def _image(fields: Mapping[str, Any]) -> ImageRef:
    return ImageRef(fields["repository"], fields.get("tag"), fields.get("digest"))


def _refresh(fields: Mapping[str, Any]) -> Refresh | None:
    found = fields.get("refresh")
    return Refresh(str(fields["name"]), found["of"], int(found["number"])) if found else None
