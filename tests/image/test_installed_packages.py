"""What is installed in an image, according to its layers."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from uuid import uuid4

from gitops_ml.image.attestations import cyclonedx
from gitops_ml.image.contents import installed
from gitops_ml.oci.image_manifest import (
    CONFIG,
    MANIFEST,
    ImageManifest,
    canonical_json,
    describe,
    parse_manifest,
)
from gitops_ml.oci.layers import LayerEntry, write_layer
from gitops_ml.oci.reference import ImageRef
from tests.support.cost import costs_little
from tests.support.oci import push_tiny_base, registry_of, silent, source

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_ml.oci.registry import OciRegistry
    from tests.support.oci import TinyBase
    from tests.support.real import RealRegistry

SITE = "opt/venv/lib/python3.12/site-packages"
STATUS = """\
Package: libgomp1
Status: install ok installed
Version: 14.2.0-19
Description: GCC OpenMP (GOMP) support library
 a long story

Package: gone
Status: deinstall ok config-files
Version: 1

"""


def metadata(name: str, version: str, *more: str) -> str:
    lines = (f"Name: {name}", f"Version: {version}", *more, "", "Name: the readme's")
    return "Metadata-Version: 2.4\n" + "\n".join(lines)


def push_image(
    client: OciRegistry, base: TinyBase, repository: str, *layers: dict[str, str]
) -> ImageRef:
    """An image of these layers, paths to texts, on top of ``base``."""
    config = json.loads(base.config["linux/amd64"])
    manifest = parse_manifest(base.manifests["linux/amd64"])
    assert isinstance(manifest, ImageManifest)
    descriptors = [*manifest.layers]
    client.push_blob(
        repository, descriptors[0], lambda at: client.read_blob(base.image.repository, descriptors[0]),
        mount_from=base.image.repository, progress=silent,
    )  # fmt: skip
    for files in layers:
        packed = io.BytesIO()
        entries = [LayerEntry(path=path, source=text.encode()) for path, text in files.items()]
        layer = write_layer(entries, packed)
        client.push_blob(repository, layer.descriptor, source(packed.getvalue()), progress=silent)
        descriptors.append(layer.descriptor)
        config["rootfs"]["diff_ids"].append(layer.diff_id)
    content = canonical_json(config)
    client.push_blob(repository, describe(content, CONFIG), source(content), progress=silent)
    made = ImageManifest(config=describe(content, CONFIG), layers=tuple(descriptors)).to_bytes()
    digest = describe(made, MANIFEST).digest
    client.push_manifest(repository, made, media_type=MANIFEST, to=digest)
    return ImageRef(repository, digest=digest)


def test_distributions_conda_and_debian_packages_are_found_above_the_base_image(
    registry: RealRegistry, tmp_path: Path
) -> None:
    client, own = registry_of(), f"{registry.host}/{uuid4().hex}"
    base = push_tiny_base(client, f"{own}/base")
    image = push_image(
        client, base, f"{own}/image",
        {"var/lib/dpkg/status": STATUS, "srv/x.dist-info/METADATA": metadata("elsewhere", "1")},
        {
            f"{SITE}/Six_Seven-1.2.dist-info/METADATA": metadata(
                "Six_Seven", "1.2", "License-Expression: MIT", "Requires-Dist: numpy", "Requires-Dist: x"
            ),
            f"{SITE}/Six_Seven-1.2.dist-info/RECORD": "",
            f"{SITE}/old.egg-info/PKG-INFO": metadata("old", "0.1"),
            f"{SITE}/setuptools/_vendor/inner-1.dist-info/METADATA": metadata("inner", "1"),
            f"{SITE}/broken.dist-info/METADATA": "no fields",
            "opt/venv/conda-meta/openssl-3.5.4-0.json": json.dumps(
                {"name": "openssl", "version": "3.5.4", "sha256": "a" * 64}
            ),
            "opt/venv/conda-meta/state.json": "{}",
            "opt/other/site-packages/gone.dist-info/METADATA": metadata("gone", "1"),
            f"{SITE}/gone_too-1.dist-info/METADATA": metadata("gone-too", "1"),
        },
        {"opt/other/.wh..wh..opq": "", f"{SITE}/.wh.gone_too-1.dist-info": ""},
    )  # fmt: skip
    found = installed(client, image, base=base.image, platform="linux/amd64")
    assert {component.purl for component in found} == {
        "pkg:pypi/six-seven@1.2",
        "pkg:pypi/old@0.1",
        "pkg:conda/openssl@3.5.4",
        "pkg:deb/debian/libgomp1@14.2.0-19",
    }
    six = next(component for component in found if component.name == "six-seven")
    assert (six.licence, six.requires) == ("MIT", ("numpy", "x"))
    bill = json.loads(cyclonedx(found, base=base.image, platform="linux/amd64"))
    assert len(bill["components"]) == 1 + len(found)
    assert bill["components"][0]["version"] == base.image.digest


def test_a_layer_removes_what_is_below_it_and_not_what_it_brings(
    registry: RealRegistry, tmp_path: Path
) -> None:
    client, own = registry_of(), f"{registry.host}/{uuid4().hex}"
    base = push_tiny_base(client, f"{own}/base")
    names = ("kept", "gone", "renewed")
    below = {f"{SITE}/{n}-1.dist-info/METADATA": metadata(n, "1") for n in names}
    above = {
        f"{SITE}/.wh.gone-1.dist-info": "", f"{SITE}/.wh.kept": "", f"{SITE}/.wh.kept-1": "",
        f"{SITE}/.wh.renewed-1.dist-info": "",
        f"{SITE}/renewed-1.dist-info/METADATA": metadata("renewed", "2"),
    }  # fmt: skip
    image = push_image(client, base, f"{own}/image", below, above)
    found = installed(client, image, base=base.image, platform="linux/amd64")
    assert [(each.name, each.version) for each in found] == [("kept", "1"), ("renewed", "2")]
    emptied = push_image(client, base, f"{own}/emptied", below, {".wh..wh..opq": ""})
    assert installed(client, emptied, base=base.image, platform="linux/amd64") == ()


def test_many_whiteouts_and_many_packages_take_one_look_at_each(
    registry: RealRegistry, tmp_path: Path
) -> None:
    client, own = registry_of(), f"{registry.host}/{uuid4().hex}"
    base = push_tiny_base(client, f"{own}/base")
    numbers = range(5000)
    image = push_image(
        client, base, f"{own}/image",
        {f"{SITE}/p{n}-1.dist-info/METADATA": metadata(f"p{n}", "1") for n in numbers},
        {f"{SITE}/.wh.p{n}-1.dist-info": "" for n in numbers if n},
    )  # fmt: skip
    with costs_little():
        (found,) = installed(client, image, base=base.image, platform="linux/amd64")
        assert found.name == "p0"


def test_the_packages_of_ubuntu_are_called_so(registry: RealRegistry, tmp_path: Path) -> None:
    client, own = registry_of(), f"{registry.host}/{uuid4().hex}"
    base = push_tiny_base(client, f"{own}/base")
    status = STATUS.replace("14.2.0-19", "14-1ubuntu1")
    image = push_image(client, base, f"{own}/image", {"var/lib/dpkg/status": status})
    (found,) = installed(client, image, base=base.image, platform="linux/amd64")
    assert found.purl == "pkg:deb/ubuntu/libgomp1@14-1ubuntu1"
