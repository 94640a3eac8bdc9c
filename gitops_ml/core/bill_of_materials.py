"""What is in an image and how it came to be: CycloneDX and in-toto documents, without times.

The bill of materials depends on the lock and the base image only, so a change of the code attaches
the one that the registry has.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_ml.core.image_recipe import BUILDER
from gitops_ml.core.oci import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.core.image import ContentHash, ImageRef

CYCLONEDX = "application/vnd.cyclonedx+json"
IN_TOTO = "application/vnd.in-toto+json"
API_MANIFEST = "application/vnd.gitops-ml.manifest.v1+yaml"

_NAMESPACE = uuid.UUID("6e1f6d1e-6a1c-5c9b-9d4a-5f7f0c4f1b2a")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package in the image."""

    name: str
    version: str
    sha256: str
    """Hex, of its wheel."""
    licence: str = ""
    requires: tuple[str, ...] = ()
    """``Requires-Dist`` of its metadata."""

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def cyclonedx(
    components: Iterable[Component], *, base: ImageRef, platform: str, tool_version: str
) -> bytes:
    """A CycloneDX 1.5 bill of materials of what stands on ``base``."""
    packages = sorted(components, key=lambda component: component.name)
    base_ref = f"pkg:oci/{base.repository.rpartition('/')[2]}@{base.digest}"
    found: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": "image", "name": "predictor image"},
            "properties": [{"name": "gitops-ml:platform", "value": platform}],
            "tools": {
                "components": [
                    {"type": "application", "name": "gitops-ml", "version": tool_version}
                ]
            },
        },
        "components": [
            {
                "type": "container",
                "bom-ref": base_ref,
                "name": base.repository,
                "version": base.digest or "",
                "purl": base_ref,
            },
            *map(_component, packages),
        ],
        "dependencies": [
            {"ref": "image", "dependsOn": [base_ref, *(p.purl for p in packages)]},
            *_dependencies(packages),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, canonical_json(found).decode())
    return canonical_json(found | {"serialNumber": f"urn:uuid:{serial}"})


def listed_packages(bill: bytes) -> tuple[Component, ...]:
    """The packages in a CycloneDX document, ours or another's; none where it is none."""
    try:
        found = json.loads(bill)["components"]
        return tuple(
            Component(
                name=str(each["name"]),
                version=str(each.get("version", "")),
                sha256=next((str(h["content"]) for h in each.get("hashes", ())), ""),
                licence=next((_licence(e) for e in each.get("licenses", ())), ""),
            )
            for each in found
            if each.get("type") == "library"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _licence(entry: Mapping[str, Any]) -> str:
    named = entry.get("license") or {}
    return str(entry.get("expression") or named.get("id") or named.get("name") or "")


def _component(package: Component) -> Mapping[str, Any]:
    licence = {"licenses": [{"expression": package.licence}]} if package.licence else {}
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        **licence,
    }


def _dependencies(packages: Iterable[Component]) -> list[Mapping[str, Any]]:
    """Who asks for whom, of those that are there; options that were not asked for count nothing."""
    known = {package.name: package.purl for package in packages}
    found: list[Mapping[str, Any]] = []
    for package in packages:
        names = set()
        for requirement in package.requires:
            match = _NAME.match(requirement)
            if match and not re.search(r"\bextra\s*==", requirement):
                names.add(re.sub(r"[-_.]+", "-", match[0]).lower())
        on = sorted(known[name] for name in names if name in known)
        found.append({"ref": package.purl, "dependsOn": on} if on else {"ref": package.purl})
    return found


def provenance(
    *,
    repository: str,
    digest: str,
    content_hash: ContentHash,
    base: ImageRef,
    platforms: Iterable[str],
    python: str,
    locks: Mapping[str, str],
    tool_version: str,
    source: Mapping[str, str] | None = None,
) -> bytes:
    """An in-toto statement with SLSA's provenance predicate, version 1.

    ``locks`` are the fingerprints of the lock by platform, ``source`` says where the project is
    kept (``uri``, ``commit``), if the caller knows.
    """
    dependencies: list[Mapping[str, Any]] = [
        {"name": "base", "uri": f"oci://{base.repository}", "digest": _digest(base.digest or "")},
        {"name": "inputs", "digest": {"sha256": content_hash.hex}},
        *(
            {"name": f"lock for {name}", "digest": {"sha256": locks[name]}}
            for name in sorted(locks)
        ),
    ]
    if source:
        commit = {"digest": {"gitCommit": source["commit"]}} if source.get("commit") else {}
        dependencies.append({"name": "source", "uri": source["uri"], **commit})
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": repository, "digest": _digest(digest)}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": f"https://gitops-ml.dev/build/{BUILDER}",
                    "externalParameters": {"platforms": sorted(platforms), "python": python},
                    "resolvedDependencies": dependencies,
                },
                "runDetails": {
                    "builder": {
                        "id": f"https://gitops-ml.dev/builder/{BUILDER}",
                        "version": {"gitops-ml": tool_version},
                    }
                },
            },
        }
    )


def _digest(digest: str) -> Mapping[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}
