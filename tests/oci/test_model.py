"""Manifests, indexes and configs as values, and their one JSON text."""

from __future__ import annotations

import json

import pytest

from gitops_ml.oci import image_manifest as oci
from gitops_ml.oci.image_manifest import (
    AddedLayer,
    BadManifest,
    Descriptor,
    ImageManifest,
    Index,
    Platform,
    Runtime,
    extended_config,
    parse_config,
)

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def test_equal_manifests_have_equal_bytes_whatever_order_they_were_made_in() -> None:
    one = Descriptor(oci.LAYER, A, 3, {"x": "1", "y": "2"})
    two = Descriptor(oci.LAYER, A, 3, {"y": "2", "x": "1"})
    config = Descriptor(oci.CONFIG, B, 2)
    first = ImageManifest(config=config, layers=(one,)).to_bytes()
    assert first == ImageManifest(config=config, layers=(two,)).to_bytes()
    assert b" " not in first


def test_a_manifest_is_read_back_as_it_was() -> None:
    manifest = ImageManifest(
        config=Descriptor(oci.EMPTY, A, 2),
        layers=(Descriptor(oci.LAYER, B, 5, {"title": "é"}),),
        subject=Descriptor(oci.MANIFEST, C, 9),
        artifact_type="application/x",
        annotations={"k": "v"},
    )
    assert oci.parse_manifest(manifest.to_bytes()) == manifest


def test_an_index_gives_the_manifest_of_a_platform_and_names_those_it_has() -> None:
    amd = Descriptor(oci.MANIFEST, A, 1, platform=Platform("linux", "amd64"))
    arm = Descriptor(oci.MANIFEST, B, 1, platform=Platform("linux", "arm64", "v8"))
    attestation = Descriptor(oci.MANIFEST, C, 1, platform=Platform("unknown", "unknown"))
    index = oci.parse_manifest(Index(manifests=(amd, attestation, arm)).to_bytes())
    assert isinstance(index, Index)
    assert oci.manifest_for(index, Platform.parse("linux/arm64")) == arm
    assert oci.manifest_for(index, Platform.parse("linux/arm64/v8")) == arm
    assert oci.manifest_for(index, Platform.parse("linux/amd64")) == amd
    with pytest.raises(BadManifest, match="not made for linux/s390x; it is for linux/amd64, linux"):
        oci.manifest_for(index, Platform.parse("linux/s390x"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<html>", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "too old"),
        (b'{"mediaType": "application/vnd.oci.image.manifest.v1+json"}', "cannot be read"),
        (b'{"layers": [{"mediaType": "x", "digest": "md5:1", "size": 1}], "config": '
         b'{"mediaType": "x", "digest": "md5:1", "size": 1}}', "points at 'md5:1'|cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_told(text: bytes, words: str) -> None:
    with pytest.raises(BadManifest, match=words):
        oci.parse_manifest(text)


def test_dockers_layers_are_named_in_ocis_words_and_foreign_ones_are_left() -> None:
    layer = Descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", A, 3)
    assert oci.as_oci(layer) == Descriptor(oci.LAYER, A, 3)
    foreign = Descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", A, 3)
    assert oci.as_oci(foreign) == foreign


@pytest.mark.parametrize("text", ["", "linux", "linux/", "linux/arm/v7/x", "/amd64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a platform"):
        Platform.parse(text)


BASE = {
    "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
    "docker_version": "20.10", "container": "abc",
    "config": {
        "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"], "Cmd": ["python3"], "Hostname": "x",
        "Labels": {"a": "1"}, "ExposedPorts": {"80/tcp": {}}, "Image": "sha256:old",
    },
    "rootfs": {"type": "layers", "diff_ids": [A]},
    "history": [{"created_by": "base"}, {"created_by": "env", "empty_layer": True}],
}  # fmt: skip
RUNTIME = Runtime(
    entrypoint=("python3", "-m", "predictor_base"), env={"PATH": "/opt:/usr/bin", "HOME": "/tmp"},
    user="10001:10001", working_dir="/app", port=8080, labels={"b": "2"},
)  # fmt: skip


def test_a_config_on_top_of_a_base_replaces_what_runs_and_keeps_the_rest() -> None:
    base = parse_config(json.dumps(BASE).encode())
    added = [AddedLayer(diff_id=B, created_by="code")]
    found = json.loads(extended_config(base, layers=added, runtime=RUNTIME))
    assert found == {
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": ["python3", "-m", "predictor_base"],
            "Env": ["PATH=/opt:/usr/bin", "LANG=C.UTF-8", "HOME=/tmp"],
            "ExposedPorts": {"80/tcp": {}, "8080/tcp": {}},
            "Labels": {"a": "1", "b": "2"}, "User": "10001:10001", "WorkingDir": "/app",
        },
        "rootfs": {"type": "layers", "diff_ids": [A, B]},
        "history": [*BASE["history"], {"created": "1970-01-01T00:00:00Z", "created_by": "code"}],
    }  # fmt: skip


def test_a_base_without_history_gets_one_entry_for_each_layer() -> None:
    base = parse_config(json.dumps({**BASE, "history": None}).encode())
    found = json.loads(extended_config(base, layers=(), runtime=RUNTIME, epoch=86400))
    assert len(found["history"]) == 1
    assert found["created"] == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"rootfs": {"diff_ids": ["md5:1"]}}'])
def test_what_is_no_config_is_told(text: bytes) -> None:
    with pytest.raises(BadManifest, match="config"):
        parse_config(text)
