"""A container registry of this machine, and the base image for pods without a public registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.e2e.machine import binaries
from tests.e2e.machine.processes import Failed, Processes, answers, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("docker-registry", "skopeo")
BASE_NAME = "base/python:3"
PYTHON = "3.11"
"""The Python of Debian bookworm, of which the base image is made."""
# Read at the import: the tests do not see the settings of the person who runs them.
NAMED_BASE = os.environ.get("GITOPS_ML_E2E_BASE")
NAMED_PYTHON = os.environ.get("GITOPS_ML_E2E_BASE_PYTHON", "3.12")


def missing_base() -> list[str]:
    """What this machine lacks to have a base image, in words."""
    if NAMED_BASE or _kept_base().exists():
        return []
    return ["a base image: make e2e-binaries makes one, or name one in GITOPS_ML_E2E_BASE"]


class Registry:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._processes = Processes(folder)

    def start(self) -> None:
        storage = {"filesystem": {"rootdirectory": str(self.folder / "blobs")}}
        settings = {
            "version": "0.1", "storage": {**storage, "delete": {"enabled": True}},
            "http": {"addr": self.host}, "log": {"level": "error"},
        }  # fmt: skip
        (self.folder / "config.yml").write_text(json.dumps(settings))
        self._processes.start("registry", "docker-registry", "serve", self.folder / "config.yml")
        until(lambda: answers(self.port), "the registry listens", seconds=20,
              impossible=self._processes.check)  # fmt: skip

    def stop(self) -> None:
        self._processes.stop()

    def base_image(self) -> tuple[str, str]:
        """The base image by digest and its Python; copied into this registry if it is ours."""
        if NAMED_BASE:
            return NAMED_BASE, NAMED_PYTHON
        target = f"{self.host}/{BASE_NAME}"
        digest = self.folder / "base.digest"
        _run("skopeo", "copy", "-q", "--dest-tls-verify=false", "--digestfile", str(digest),
             f"oci:{_kept_base()}", f"docker://{target}")  # fmt: skip
        return f"{target}@{digest.read_text().strip()}", PYTHON


# -- the base image that is kept beside the binaries -------------------------------------------------


def _kept_base() -> Path:
    return binaries.folder() / "base-image"


def make_base_image() -> None:
    """Make an image of Debian with Python by debootstrap; what is there stays."""
    kept = _kept_base()
    if kept.exists():
        return
    for program in ("debootstrap", "skopeo"):
        if shutil.which(program) is None:
            raise Failed(
                f"{program} is missing (apt-get install {program}): no base image for pods"
            )
    root = kept.with_name("base-root")
    partial = kept.with_name("base-image.partial")
    for left in (root, partial):
        shutil.rmtree(left, ignore_errors=True)
    _run(
        "debootstrap",
        "--variant=minbase",
        "--include=python3,ca-certificates",
        "bookworm",
        str(root),
    )
    (root / "usr/bin/python").symlink_to("python3")
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / waste, ignore_errors=True)
    _write_layout(root, partial)
    shutil.rmtree(root)
    partial.rename(kept)


def _write_layout(root: Path, layout: Path) -> None:
    """An OCI layout with one layer: the files of ``root``."""
    tar = layout.with_suffix(".tar")
    _run("tar", "-C", str(root), "-cf", str(tar), ".")
    # A Docker archive is the shortest form that skopeo reads.
    work = layout.with_suffix(".docker")
    work.mkdir(exist_ok=True)
    digest = subprocess.run(["sha256sum", tar], capture_output=True, text=True, check=True)
    diff_id = digest.stdout.split()[0]
    tar.rename(work / "layer.tar")
    config = {
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["python3"]},
    }  # fmt: skip
    (work / "config.json").write_text(json.dumps(config))
    (work / "manifest.json").write_text(
        json.dumps([{"Config": "config.json", "RepoTags": ["base:3"], "Layers": ["layer.tar"]}])
    )
    archive = work / "image.tar"
    _run("tar", "-C", str(work), "-cf", str(archive), "manifest.json", "config.json", "layer.tar")
    _run("skopeo", "copy", "-q", f"docker-archive:{archive}", f"oci:{layout}")
    shutil.rmtree(work)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
