"""`gitops-ml inspect` and `export`: what is in an image, and the project that it was made of."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from gitops_ml.oci.image_manifest import CONFIG, MANIFEST, ImageManifest, canonical_json, describe
from gitops_ml.oci.layers import LayerEntry, write_layer
from gitops_ml.oci.reference import ImageRef
from tests.support.oci import silent, source


@pytest.fixture
def deployed(mill):
    """The mill after a deploy: ``image`` is its image, ``id`` the id of the release in staging."""
    assert mill.person.runs("deploy").code == 0
    release = mill.person.release("answer")
    image = release["image"]
    mill.image = ImageRef(image["repository"], image["tag"], image["digest"])
    mill.id = release["deployment_id"]
    return mill


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_deployment_id_leads_to_what_is_in_its_image(deployed):
    result = deployed.person.runs("inspect", deployed.id, "-o", "json")
    assert result.code == 0, result
    found = result.json
    assert (found["deployment_id"], found["platform"]) == (deployed.id, "linux/amd64")
    assert found["image"] == str(deployed.image)
    assert [each["role"] for each in found["layers"]] == ["base", "packages", "runtime", "code"]
    assert found["size"] == sum(each["size"] for each in found["layers"])
    assert deployed.image.tag == f"h-{found['content_hash'][:20]}"
    assert found["labels"]["dev.gitops-ml.lock"] == found["lock"]
    assert {"name": "six", "version": "1.16.0", "licence": "MIT"} in found["packages"]
    assert len(found["packages"]) == 8
    assert {each["type"] for each in found["attached"]} == {
        "application/vnd.cyclonedx+json",
        "application/vnd.in-toto+json",
        "application/vnd.gitops-ml.manifest.v1+yaml",
    }


def test_people_see_layers_labels_packages_and_documents(deployed):
    out = deployed.person.runs("inspect", deployed.id[:-3]).out
    words = [line.split() for line in out.splitlines()]
    assert ["image:", str(deployed.image)] in words
    assert ["deployment", "id:", deployed.id] in words
    for head in (["LAYER", "SIZE", "DIGEST"], ["PACKAGE", "VERSION", "LICENCE"],
                 ["LABEL", "VALUE"], ["ATTACHED", "DIGEST"]):  # fmt: skip
        assert head in words
    assert ["six", "1.16.0", "MIT"] in words


def test_an_image_of_somebody_else_is_shown_as_far_as_it_tells(mill):
    result = mill.person.runs("inspect", str(mill.base.image), "-o", "json")
    assert result.code == 0, result
    assert result.json["platforms"] == ["linux/amd64", "linux/arm64"]
    assert [each["role"] for each in result.json["layers"]] == ["base"]
    arm = mill.person.runs("inspect", str(mill.base.image), "--platform", "linux/arm64")
    assert "linux/arm64" in arm.out
    other = mill.person.runs("inspect", str(mill.base.image), "--platform", "linux/s390x")
    assert (other.code, "it is for linux/amd64, linux/arm64" in other.err) == (2, True)
    result = mill.person.runs("export", str(mill.base.image), "../back")
    assert (result.code, "no layer of it is a project" in result.err) == (1, True)


def test_what_nobody_has_is_told(mill):
    result = mill.person.runs("inspect", f"{mill.repository}:nope")
    assert (result.code, f"has no {mill.repository}:nope" in result.err) == (4, True)
    assert mill.person.runs("inspect", "no image!").code == 2
    assert mill.person.runs("inspect").code == 2
    assert mill.person.runs("inspect", "x", "--changes").code == 2


def test_a_mistyped_id_and_the_name_of_an_api_are_no_images(deployed):
    for word in (deployed.id[:-1] + "x", deployed.id + "0", "answer", "answr"):
        result = deployed.person.runs("inspect", word)
        assert result.code == 2, result
        assert deployed.id in result.err.partition("near it are: ")[2]


def test_code_lock_and_manifest_come_back_by_deployment_id_and_make_the_same_image(deployed):
    (deployed.project / "predictor.py").write_text("class PythonPredictor: ...\n")
    result = deployed.person.runs("export", deployed.id, "../back", "-o", "json")
    assert result.code == 0, result
    back = deployed.person.home / "back"
    assert result.json["files"] == sorted(files(back))
    assert result.json["manifest"] == "api.yaml"
    assert (back / "pylock.toml").read_bytes() == deployed.lock.read_bytes()
    assert b"self.factor" in (back / "predictor.py").read_bytes()
    project = (deployed.project / "gitops-ml.yaml").read_text()
    (back / "gitops-ml.yaml").write_text(project)
    deployed.person.go(back)
    (built,) = deployed.person.runs("build", "--frozen", "-o", "json").json["images"]
    assert (built["state"], built["digest"]) == ("exists", deployed.image.digest)


def test_by_image_the_manifest_is_the_one_that_is_attached(deployed):
    result = deployed.person.runs("export", str(deployed.image), "../back")
    assert result.code == 0, result
    back = deployed.person.home / "back"
    assert (back / "api.yaml").read_bytes() == (deployed.project / "api.yaml").read_bytes()
    again = deployed.person.runs("export", str(deployed.image), "../back")
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_an_oci_layout_is_read_without_any_registry(mill, monkeypatch):
    assert mill.person.runs("build", "--output", "oci-layout", "../layout").code == 0
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    found = mill.person.runs("inspect", "oci:../layout", "-o", "json").json
    assert [each["role"] for each in found["layers"]][-1] == "code"
    tag = f"h-{found['content_hash'][:20]}"
    result = mill.person.runs("export", f"oci:../layout:{tag}", "../back")
    assert result.code == 0, result
    back = files(mill.person.home / "back")
    assert set(back) == {"predictor.py", "pylock.toml", "requirements.txt"}
    assert "it is not attached to the image" in result.err
    result = mill.person.runs("inspect", "oci:../layout:other")
    assert (result.code, f"of {tag}" in result.err) == (2, True)
    assert mill.person.runs("inspect", "oci:..").code == 2


def test_what_a_build_would_push_is_told_before_it_is_pushed(deployed):
    (deployed.project / "predictor.py").write_text("class PythonPredictor: ...\n")
    (found,) = deployed.person.runs("inspect", "--changes", "-o", "json").json["images"]
    assert (found["apis"], found["builder"]) == (["answer"], "oci")
    new = {blob["role"]: blob["size"] for blob in found["blobs"] if not blob["is_there"]}
    assert set(new) == {"code", "config"}
    assert found["bytes"] == sum(new.values())
    lines = deployed.person.runs("inspect", "--changes").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "base", "packages", "runtime", "code", "config", "total",
    ]  # fmt: skip
    assert deployed.client.digest(ImageRef.parse(found["image"])) is None
    deployed.requires("six==1.17.0")
    result = deployed.person.runs("inspect", "--changes")
    assert (result.code, "run `gitops-ml lock`" in result.err) == (2, True)


def push_project(mill, *entries: LayerEntry) -> ImageRef:
    """An image that says it was made by us, whose project is these entries."""
    file = io.BytesIO()
    layer = write_layer(entries, file, root="")
    config = canonical_json(
        {
            "os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created_by": "gitops-ml: the project"}],
        }
    )  # fmt: skip
    made = ImageManifest(config=describe(config, CONFIG), layers=(layer.descriptor,)).to_bytes()
    for blob, content in ((layer.descriptor, file.getvalue()), (describe(config, CONFIG), config)):
        mill.client.push_blob(mill.repository, blob, source(content), progress=silent)
    digest = mill.client.push_manifest(mill.repository, made, media_type=MANIFEST, to="bad")
    return ImageRef(mill.repository, digest=digest)


@pytest.mark.parametrize("target", ["/etc", "../..", "a/../../../x"])
def test_an_image_with_a_link_that_leaves_the_project_is_refused(mill, target):
    image = push_project(mill, LayerEntry(path="app/out", source=target))
    result = mill.person.runs("export", str(image), "../back")
    assert (result.code, "a link that leaves the project" in result.err) == (1, True)


def test_what_an_image_wants_to_write_outside_of_the_project_is_not_written(mill):
    good = LayerEntry(path="app/good.txt", source=b"good")
    image = push_project(mill, good, LayerEntry(path="app/../../evil.txt", source=b"evil"))
    result = mill.person.runs("export", str(image), "../back")
    assert result.code == 0, result
    assert files(mill.person.home / "back") == {"good.txt": b"good"}
    assert not (mill.person.home / "evil.txt").exists()


def test_a_layout_that_is_damaged_is_refused(mill):
    assert mill.person.runs("build", "--output", "oci-layout", "../layout").code == 0
    layers = mill.person.runs("inspect", "oci:../layout", "-o", "json").json["layers"]
    place = mill.person.home / "layout/blobs/sha256" / layers[-1]["digest"][7:]
    content = bytearray(place.read_bytes())
    content[-40] ^= 1
    place.write_bytes(content)
    result = mill.person.runs("export", "oci:../layout", "../back")
    assert result.code != 0
    assert "back" not in result.out


MEASURED = """
import re, sys
from pathlib import Path
from gitops_ml.cli.main import main

try:
    main(sys.argv[1:])
finally:  # ru_maxrss would count what the process was forked from
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(int(peak) // 1024)
"""


def peak_of(mill, *arguments):
    """The largest resident set of a command, MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        cwd=mill.project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_memory_does_not_grow_with_the_project(mill):
    commands = (
        ("build",),
        ("build", "--output", "oci-layout", "../layout"),
        ("export", "oci:../layout", "../back"),
    )
    small = [peak_of(mill, *command) for command in commands]
    with (mill.project / "weights.bin").open("wb") as file:
        for _ in range(80):
            file.write(os.urandom(1 << 20))
    commands = (
        *commands[:1],
        (*commands[1][:-1], "../layout2"),
        ("export", "oci:../layout2", "../again"),
    )
    large = [peak_of(mill, *command) for command in commands]
    assert (mill.person.home / "again/weights.bin").stat().st_size == 80 << 20
    grown = [after - before for before, after in zip(small, large, strict=True)]
    assert max(grown) < 40, (small, large)
