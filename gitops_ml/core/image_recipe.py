"""How an image is made without a container: what stands where in it, and what runs.

The places are those of the Dockerfile (`gitops_ml.core.dockerfile`), so that it does not matter to
anybody who made an image: packages in ``/opt/venv``, predictor_base in ``/opt/runtime``, the
project in ``/app``. ``/opt/venv`` is no virtual environment here, since only a running Python could
make one: the base image's Python finds it as the user's site directory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_ml.core.content_hash import Recipe
from gitops_ml.core.dockerfile import CONTENT_HASH_LABEL, PORT, USER_ID
from gitops_ml.core.oci import canonical_json
from gitops_ml.core.oci_config import BaseConfig, Runtime
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gitops_ml.core.image import ContentHash, ImageRef
    from gitops_ml.core.lock import Lock

BUILDER = "oci/1"
"""Counts up when equal inputs become other bytes."""
LOCK_LABEL = "dev.gitops-ml.lock"
PREFIX = "opt/venv"
RUNTIME = "opt/runtime"
APP = "app"
ENTRYPOINT = ("python3", "-m", "predictor_base")

_ENV = {
    "HOME": "/tmp",  # noqa: S108 - the only place of the pod that may be written to
    # there is no entry in /etc/passwd: this is what getpass.getuser() and its users ask first
    "LOGNAME": "predictor",
    "USER": "predictor",
    "PYTHONUNBUFFERED": "1",
    # the image holds no bytecode, which only its own Python could make: a worker that starts
    # finds what the first one left
    "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def site_packages(python: str) -> str:
    return f"{PREFIX}/lib/python{python}/site-packages"


def oci_recipe(*, base: ImageRef, platforms: Iterable[str], python: str, lock: Lock) -> Recipe:
    """How the image is made: what the content hash knows besides the inputs."""
    chosen = sorted(platforms)
    constants = [_ENV, _PATH, ENTRYPOINT, PREFIX, RUNTIME, APP, PORT, USER_ID]
    return Recipe(
        builder=BUILDER,
        template=hashlib.sha256(canonical_json(constants)).hexdigest(),
        base=base,
        platform=",".join(chosen),
        python_version=python,
        build_args={f"lock:{platform}": lock.fingerprint(platform) for platform in chosen},
    )


def check_base(base: BaseConfig, *, python: str, name: ImageRef) -> None:
    """Pass a base image that has the Python of the lock, as far as its config tells.

    Raises:
        UsageError: it tells of another one.
    """
    found = ".".join(base.environ.get("PYTHON_VERSION", python).split(".")[:2])
    if found != python:
        raise UsageError(
            f"the base image {name} has Python {found}, but the image is to have {python}: "
            "change python_version or the base image, then run `gitops-ml lock`"
        )


def runtime(
    base: BaseConfig,
    *,
    base_digest: str,
    python: str,
    content_hash: ContentHash,
    lock_hash: str,
    labels: Mapping[str, str],
) -> Runtime:
    """How an image on top of ``base`` runs; ``labels`` are added to ours."""
    own = {
        CONTENT_HASH_LABEL: content_hash.hex,
        LOCK_LABEL: lock_hash,
        "org.opencontainers.image.base.digest": base_digest,
    }
    path = base.environ.get("PATH", _PATH)
    return Runtime(
        entrypoint=ENTRYPOINT,
        env={**_ENV, **_search_path(base, python), "PATH": f"/{PREFIX}/bin:{path}"},
        user=f"{USER_ID}:{USER_ID}",
        working_dir=f"/{APP}",
        port=PORT,
        labels={**labels, **own},
    )


def _search_path(base: BaseConfig, python: str) -> Mapping[str, str]:
    """The variables by which the base image's Python finds the packages."""
    if "VIRTUAL_ENV" in base.environ or "PYTHONNOUSERSITE" in base.environ:
        # a virtual environment of the base image sees no user's site directory
        return {"PYTHONPATH": f"/{site_packages(python)}:/{RUNTIME}"}
    return {"PYTHONUSERBASE": f"/{PREFIX}"}


@dataclass(frozen=True, slots=True)
class BuilderChoice:
    """Which builder makes an image, and why."""

    builder: str
    """``docker`` or ``oci``."""
    reason: str


def choose_builder(
    asked: str,
    *,
    shell: str | None = None,
    conda: str | None = None,
    system: Iterable[str] = (),
    local_packages: Iterable[str] = (),
    platforms: Iterable[str] = ("linux/amd64",),
) -> BuilderChoice:
    """The builder for one predictor; ``asked`` is ``auto``, ``docker`` or ``oci``.

    Raises:
        UsageError: ``oci`` was asked for, and something has to run in a container.
    """
    from gitops_ml.core.lock import MACHINES

    needs = [
        *(f"{path} is a script" for path in (shell,) if path),
        *(f"{path} names conda packages" for path in (conda,) if path),
        *(f"Debian packages are to be installed ({', '.join(system)})" for _ in (1,) if system),
        *(f"{path} is source code that pip has to build" for path in local_packages),
        *(f"there are no wheels for {name}" for name in platforms if name not in MACHINES),
    ]
    if asked == "docker":
        return BuilderChoice("docker", "image.builder says so")
    if asked == "oci" and needs:
        raise UsageError(
            f"image.builder is oci, which runs nothing, but {needs[0]}: set it to auto or docker, "
            "or make a base image that has it (image.base)"
        )
    if asked == "oci":
        return BuilderChoice("oci", "image.builder says so")
    if needs:
        return BuilderChoice("docker", f"{needs[0]}, which needs a container")
    return BuilderChoice("oci", "nothing in it needs a container")
