"""The documents about images: bills of materials (CycloneDX), provenance (in-toto, SLSA) and OpenAPI, without times.

The bill of materials depends only on the lock and the base image, so after a change of the code the
registry already has it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from gitops_ml._version import __version__
from gitops_ml.errors import ProgramFailed
from gitops_ml.http.json_reader import read_json
from gitops_ml.image.content_hash import ContentHash
from gitops_ml.image.context import BuildContext
from gitops_ml.image.recipe import PredictorSource
from gitops_ml.oci.image_manifest import canonical_json
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.wheels import Component, purl_escaped
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.process import run
from gitops_ml.system.project_files import read_file

CYCLONEDX = "application/vnd.cyclonedx+json"
PROVENANCE_PREDICATE = "https://slsa.dev/provenance/v1"
CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom"
API_MANIFEST = "application/vnd.gitops-ml.manifest.v1+yaml"

_NAMESPACE = uuid.UUID("6e1f6d1e-6a1c-5c9b-9d4a-5f7f0c4f1b2a")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def cyclonedx(components: Iterable[Component], *, base: ImageRef, platform: str) -> bytes:
    """A CycloneDX 1.5 bill of materials: ``base`` and the packages installed on it."""
    packages = sorted(set(components), key=lambda component: (component.kind, component.purl))
    own = _base_component(base)
    found: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": "image", "name": "predictor image"},
            "properties": [{"name": "gitops-ml:platform", "value": platform}],
            "tools": {
                "components": [{"type": "application", "name": "gitops-ml", "version": __version__}]
            },
        },
        "components": [own, *map(_component, packages)],
        "dependencies": [
            {"ref": "image", "dependsOn": [own["bom-ref"], *(p.purl for p in packages)]},
            *_dependencies(packages),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, canonical_json(found).decode())
    return canonical_json(found | {"serialNumber": f"urn:uuid:{serial}"})


def _base_component(base: ImageRef) -> Mapping[str, Any]:
    purl = _image_purl(base)
    return {
        "type": "container",
        "bom-ref": purl,
        "name": base.repository,
        "version": base.digest or "",
        "purl": purl,
    }


def listed_packages(bill: bytes) -> tuple[Component, ...]:
    """The packages in any CycloneDX document; none where it cannot be read."""
    try:
        found = read_json(bill)["components"]
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
    hashes = {"hashes": [{"alg": "SHA-256", "content": package.sha256}]} if package.sha256 else {}
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        **hashes,
        **licence,
    }


def _image_purl(image: ImageRef) -> str:
    name = image.repository.rpartition("/")[2]
    query = f"?repository_url={purl_escaped(image.repository, safe=':/')}"
    return f"pkg:oci/{name}@{purl_escaped(image.digest or '')}{query}"


def _dependencies(packages: Iterable[Component]) -> list[Mapping[str, Any]]:
    """The dependencies among ``packages``; those of extras do not count."""
    from packaging.utils import canonicalize_name

    known = {package.name: package.purl for package in packages if package.kind == "pypi"}
    found: list[Mapping[str, Any]] = []
    for package in packages:
        names = set()
        for requirement in package.requires:
            match = _NAME.match(requirement)
            if match and not re.search(r"\bextra\s*==", requirement):
                names.add(canonicalize_name(match[0]))
        on = sorted(known[name] for name in names if name in known)
        found.append({"ref": package.purl, "dependsOn": on} if on else {"ref": package.purl})
    return found


def provenance(
    image: ImageRef,
    *,
    builder: str,
    content_hash: ContentHash,
    base: ImageRef,
    platforms: Iterable[str],
    python: str | None,
    locks: Mapping[str, str] | None = None,
    source: Mapping[str, str] | None = None,
) -> bytes:
    """An in-toto statement about ``image``, by digest, with SLSA's provenance predicate, version 1.

    ``builder`` is ``oci/<n>`` or ``docker/<n>``, ``locks`` are the fingerprints of the lock by
    platform, ``source`` is where the project is kept (``uri``, ``commit``), if the caller knows.
    """
    predicate = {
        "buildDefinition": {
            "buildType": f"https://gitops-ml.dev/build/{builder}",
            "externalParameters": {
                "platforms": sorted(platforms),
                **({"python": python} if python else {}),
            },
            "resolvedDependencies": [
                {
                    "name": "base",
                    "uri": _image_purl(base),
                    "digest": _digest_set(base.digest or ""),
                },
                {"name": "inputs", "digest": {"sha256": content_hash.hex}},
                *(
                    {"name": f"lock for {name}", "digest": {"sha256": fingerprint}}
                    for name, fingerprint in sorted((locks or {}).items())
                ),
                *_source(source),
            ],
        },
        "runDetails": {
            "builder": {
                "id": f"https://gitops-ml.dev/builder/{builder}",
                "version": {"gitops-ml": __version__},
            }
        },
    }
    return statement(image, predicate_type=PROVENANCE_PREDICATE, predicate=predicate)


def _source(source: Mapping[str, str] | None) -> Iterator[Mapping[str, Any]]:
    if source:
        commit = {"digest": {"gitCommit": source["commit"]}} if source.get("commit") else {}
        yield {"name": "source", "uri": source["uri"], **commit}


def is_provenance_of(content: bytes, digest: str, content_hash: ContentHash) -> bool:
    """Whether a provenance statement names ``digest`` and these inputs."""
    try:
        found = read_json(content)
        subjects = [subject["digest"] for subject in found["subject"]]
        materials = found["predicate"]["buildDefinition"]["resolvedDependencies"]
        inputs = [each["digest"] for each in materials if each.get("name") == "inputs"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return _digest_set(digest) in subjects and {"sha256": content_hash.hex} in inputs


def statement(image: ImageRef, *, predicate_type: str, predicate: Any) -> bytes:
    """An in-toto statement about an image, by its digest."""
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": image.repository, "digest": _digest_set(image.digest or "")}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def _digest_set(digest: str) -> Mapping[str, str]:
    """A digest as in-toto writes it: the value by its algorithm."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


_LARGEST_SOURCE = 1 << 20
"""Bytes of a predictor; parsed, a source takes a hundred times its size."""
_LARGEST_SAMPLE = 4 << 20
_SECONDS = 30
_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from predictor_base.predictor.schema import main
sys.exit(main(sys.argv[1:]))
"""


def read_openapi(context: BuildContext, predictor: PredictorSource) -> str:
    """The OpenAPI document of a predictor, as one line of JSON; empty where there is none.

    The ``predictor_base`` of the context reads the source and never runs it. Files that are not in the
    image, such as an ignored sample.json, are not read, so that one image has one document.
    """
    file = PurePosixPath(APP, predictor.path)
    known = {each.path for each in context.inputs}
    with tempfile.TemporaryDirectory(prefix="gitops-ml-") as folder:
        for name, limit in ((file.name, _LARGEST_SOURCE), ("sample.json", _LARGEST_SAMPLE)):
            if str(file.with_name(name)) in known:
                source = context.roots[APP] / PurePosixPath(predictor.path).with_name(name)
                with suppress(OSError):  # a file that cannot be read does not count
                    content = read_file(source, limit=limit, inside=(context.roots[APP],))
                    Path(folder, name).write_bytes(content)
        return _document(Path(folder, file.name), predictor, context.roots[RUNTIME])


def _document(file: Path, predictor: PredictorSource, runtime: Path) -> str:
    # -I -S: installed packages are not needed, and would make it slower and different
    command = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, str(runtime), str(file)]
    command += ["--name", predictor.api]
    command += ["--class-name", predictor.class_name] if predictor.class_name else []
    try:
        text = run(command, timeout=_SECONDS).text
    except ProgramFailed:
        return ""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
