"""JSON of registries: whatever they send is read or refused with a sentence."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_ml.http.json_reader import BadJson, read_json
from gitops_ml.image.attestations import listed_packages
from gitops_ml.image.contents import image_contents
from gitops_ml.oci.image_manifest import (
    INDEX,
    MANIFEST,
    AddedLayer,
    BadManifest,
    ImageManifest,
    Runtime,
    canonical_json,
    extended_config,
    parse_config,
    parse_index,
    parse_manifest,
)
from gitops_ml.oci.signatures import claims, parse_envelope
from tests.support.cost import costs_little

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = "sha256:" + "0" * 64
DESCRIPTOR = {"mediaType": "x", "digest": DIGEST, "size": 3, "annotations": {"a": "b"}}
PLATFORM = {"os": "linux", "architecture": "amd64", "variant": "v8"}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "manifest": {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": DESCRIPTOR, "layers": [DESCRIPTOR],
        "annotations": {"a": "b"}, "subject": DESCRIPTOR, "artifactType": "x",
    },
    "index": {
        "schemaVersion": 2, "mediaType": INDEX, "annotations": {"a": "b"},
        "manifests": [{**DESCRIPTOR, "platform": PLATFORM, "artifactType": "x"}],
    },
    "config": {
        **PLATFORM, "os.version": "1", "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "history": [{"created_by": "x", "empty_layer": False}],
        "config": {
            "Env": ["A=b"], "Entrypoint": ["x"], "Cmd": ["y"], "User": "1", "WorkingDir": "/",
            "Labels": {"a": "b"}, "ExposedPorts": {"1/tcp": {}}, "Volumes": {}, "StopSignal": "x",
            "Healthcheck": {"Test": ["x"]},
        },
    },
    "bill": {
        "components": [{"type": "library", "name": "x", "version": "1",
                        "hashes": [{"content": "0"}], "licenses": [{"license": {"id": "MIT"}}]}],
    },
    "claim": {"critical": {"image": {"docker-manifest-digest": DIGEST}, "type": "x"}},
    "envelope": {"payloadType": "x", "payload": "eA==", "signatures": [{"sig": "eA=="}]},
}  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, True, -1, 1.5, 1 << 70, float("nan"), "", "x", "\ud800", [], [1], ["x"], [None], {}, {"a": 1},
    [[]], {"a": ["b"]}, [{}], {"\ud800": "x"},
)  # fmt: skip


def read_as(kind: str, content: bytes) -> None:
    """Read a document as whoever uses it does, and write what is written of it."""
    match kind:
        case "manifest" | "index":
            found = parse_manifest(content, media_type=MANIFEST if kind == "manifest" else INDEX)
            found.to_bytes()
            parse_index(content)
        case "config":
            base = parse_config(content)
            runtime = Runtime(entrypoint=("x",), env={}, user="1", working_dir="/", port=1)
            extended_config(
                base, layers=[AddedLayer(diff_id=DIGEST, created_by="x")], runtime=runtime
            )
            manifest = parse_manifest(canonical_json(DOCUMENTS["manifest"]))
            assert isinstance(manifest, ImageManifest)
            image_contents(manifest, content)
        case "bill":
            listed_packages(content)
        case "claim":
            claims(content, DIGEST)
        case _:
            parse_envelope(content)


def variants(document: Any) -> Iterator[Any]:
    """``document`` with something else in each of its places, one at a time."""
    yield from OTHERS
    for key in document if isinstance(document, dict) else range(len(document)):
        without = copy.copy(document)
        del without[key]
        yield without
        inner = document[key]
        deeper = variants(inner) if isinstance(inner, dict | list) else iter(OTHERS)
        for each in deeper:
            changed = copy.copy(document)
            changed[key] = each
            yield changed


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_anything_else_in_any_place_is_read_or_refused(kind: str) -> None:
    count = 0
    for variant in variants(DOCUMENTS[kind]):
        count += 1
        try:
            read_as(kind, json.dumps(variant).encode())
        except (BadManifest, ValueError) as error:
            assert isinstance(error, BadManifest) or kind in ("envelope",), variant
            assert len(str(error)) < 400
    assert count > 60


@pytest.mark.parametrize("kind", DOCUMENTS)
@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 400), put=st.binary(max_size=8))
def test_damaged_texts_are_read_or_refused(kind: str, at: int, put: bytes) -> None:
    content = canonical_json(DOCUMENTS[kind])
    with suppress(ValueError):
        read_as(kind, content[:at] + put + content[at + len(put) :])


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 70 + b"]" * 70, b"1" * 100_000, b"\xff\xfe",
        b'{"layers":' + b"[" * 900 + b"]" * 900 + b"}", b'"' + b"\\" * 100_000,
        b'{"layers":[' + b"{}," * 100_000 + b"{}]}", b'{"manifests":[' + b"{}," * 100_000 + b"{}]}",
        b"[{}" + b",{}" * 300_000 + b"]", b'{"a":"' + b"x" * (4 << 20),
    ],
    ids=lambda content: f"{content[:8]!r}-{len(content)}",
)  # fmt: skip
def test_deep_long_and_broken_texts_cost_little(kind: str, content: bytes) -> None:
    with costs_little():
        try:
            read_as(kind, content)
        except ValueError as error:
            assert len(str(error)) < 400


def test_documents_as_they_should_be_are_read() -> None:
    for kind, document in DOCUMENTS.items():
        read_as(kind, canonical_json(document))


def test_depth_is_counted_and_half_characters_are_refused() -> None:
    assert read_json("[" * 64 + "]" * 64)
    with pytest.raises(BadJson, match="nested more than 64 levels"):
        read_json("[" * 66 + "]" * 66)
    with pytest.raises(BadJson, match="half a character"):
        read_json('{"a": "\\ud800"}')
    assert read_json('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
