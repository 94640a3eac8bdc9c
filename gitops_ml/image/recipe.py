"""How an image is made without a container: what stands where in it, and what runs.

The places are those of the Dockerfile (`gitops_ml.image.dockerfile`), so that it does not matter to
anybody who made an image: packages in ``/opt/venv``, predictor_base in ``/opt/runtime``, the
project in ``/app``. ``/opt/venv`` is no virtual environment here, since only a running Python could
make one: the base image's Python finds it as the user's site directory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError
from gitops_ml.image.content_hash import Recipe, content_hash
from gitops_ml.image.dockerfile import CONTENT_HASH_LABEL, PORT, USER_ID
from gitops_ml.oci.config import BaseConfig, Runtime
from gitops_ml.oci.model import canonical_json
from gitops_ml.packages.lock_file import MACHINES, lock_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gitops_ml.image.inputs import BuildContext, ContentHash
    from gitops_ml.oci.reference import ImageRef
    from gitops_ml.packages.lock_file import Lock
    from gitops_ml.packages.requirement_files import RequirementLine
    from gitops_ml.release.spec import Dependencies

BUILDER = "oci/1"
"""Counts up when equal inputs become other bytes."""
LOCK_LABEL = "dev.gitops-ml.lock"
OPENAPI_LABEL = "dev.gitops-ml.openapi"
SCHEMA_LABEL = "dev.gitops-ml.deployment-schema"
DEPLOYMENT_SCHEMA = "1"
"""Counts up when what an image holds, or what its labels mean, changes for those who read them."""
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
    "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108 - likewise
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def site_packages(python: str) -> str:
    return f"{PREFIX}/lib/python{python}/site-packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The predictor whose API the image's labels tell of."""

    api: str
    path: str
    """Its file, relative to the project."""
    class_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OciPlan:
    """Everything that decides what an image will be."""

    context: BuildContext
    """Without the lock file: what that says is in ``lock``, and its text follows from it."""
    lock: Lock
    base: ImageRef
    """By digest."""
    platforms: tuple[str, ...]
    content_hash: ContentHash
    described: Described | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 0
    """The time of everything in the image: ``SOURCE_DATE_EPOCH``."""
    asked: Callable[[], Sequence[RequirementLine]] | None = field(default=None, compare=False)
    """What the requirements ask for: the wheels must be what they come to, and no more."""


def oci_plan(
    context: BuildContext,
    *,
    lock: Lock,
    base: ImageRef,
    platforms: Iterable[str],
    described: Described | None = None,
    labels: Mapping[str, str] | None = None,
    epoch: int = 0,
    asked: Callable[[], Sequence[RequirementLine]] | None = None,
) -> OciPlan:
    """What decides the image of ``context``; its content hash is in it, the labels are not in that.

    What labels say must follow from what is in the hash: one tag has one digest.
    """
    chosen = tuple(platforms)
    recipe = oci_recipe(base=base, platforms=chosen, lock=lock, described=described, epoch=epoch)
    own = _without_lock_file(context)
    return OciPlan(
        context=own,
        lock=lock,
        base=base,
        platforms=chosen,
        content_hash=content_hash(own.inputs, recipe=recipe),
        described=described,
        labels=labels or {},
        epoch=epoch,
        asked=asked,
    )


def unlocked_hash(context: BuildContext, *, base: ImageRef, inputs: str) -> ContentHash:
    """The hash that stands in where no lock says yet what would be installed.

    ``inputs`` is the fingerprint of what the lock would be made from. No image ever has this hash.
    """
    recipe = Recipe(
        builder=f"{BUILDER} without a lock",
        template="",
        base=base,
        platform="",
        python_version="",
        build_args={"inputs": inputs},
    )
    return content_hash(_without_lock_file(context).inputs, recipe=recipe)


def _without_lock_file(context: BuildContext) -> BuildContext:
    path = f"{APP}/{lock_path(context.dependencies.pip)}"
    return replace(context, inputs=tuple(file for file in context.inputs if file.path != path))


def oci_recipe(
    *,
    base: ImageRef,
    platforms: Iterable[str],
    lock: Lock,
    described: Described | None = None,
    epoch: int = 0,
) -> Recipe:
    """How the image is made: what the content hash knows besides the inputs."""
    chosen = sorted(platforms)
    constants = [_ENV, _PATH, ENTRYPOINT, PREFIX, RUNTIME, APP, PORT, USER_ID]
    locks = {f"lock:{platform}": lock.fingerprint(platform) for platform in chosen}
    return Recipe(
        builder=BUILDER,
        template=hashlib.sha256(canonical_json(constants)).hexdigest(),
        base=base,
        platform=",".join(chosen),
        python_version=lock.python,
        build_args={
            **locks,
            **({"described": json.dumps(astuple(described))} if described else {}),
            **({"epoch": str(epoch)} if epoch else {}),
        },
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
        SCHEMA_LABEL: DEPLOYMENT_SCHEMA,
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
    dependencies: Dependencies | None = None,
    needs_pip: Iterable[str] = (),
    unknown_python: str | None = None,
    platforms: Iterable[str] = ("linux/amd64",),
) -> BuilderChoice:
    """The builder for one predictor; ``asked`` is ``auto``, ``docker`` or ``oci``.

    ``needs_pip`` are requirements that are no wheels, and ``unknown_python`` is a base image whose
    Python nobody has named, so that no wheel can be chosen for it.

    Raises:
        UsageError: ``oci`` was asked for, and something has to run in a container; or an engine has
            to make an image for several platforms, which it cannot.
    """
    chosen = tuple(platforms)
    needs = _needs(dependencies, needs_pip, unknown_python, chosen)
    if asked == "oci" and needs:
        raise UsageError(
            f"image.builder is oci, which runs nothing, but {needs[0]}: set it to auto or docker, "
            "or make a base image that has it (image.base)"
        )
    if asked != "docker" and not needs:
        said = asked == "oci"
        return BuilderChoice(
            "oci", "image.builder says so" if said else "nothing in it needs a container"
        )
    reason = (
        "image.builder says so" if asked == "docker" else f"{needs[0]}, which needs a container"
    )
    if len(chosen) > 1:
        raise UsageError(
            f"an engine makes images for one platform, and image.platforms has {len(chosen)}; "
            f"docker is the builder since {reason}"
        )
    return BuilderChoice("docker", reason)


def _needs(
    dependencies: Dependencies | None,
    needs_pip: Iterable[str],
    unknown_python: str | None,
    platforms: Iterable[str],
) -> list[str]:
    """What nobody can do who runs nothing, as statements."""
    found = []
    if dependencies and dependencies.shell:
        found.append(f"{dependencies.shell} is a script")
    if dependencies and dependencies.conda:
        found.append(f"{dependencies.conda} names conda packages")
    if dependencies and dependencies.system:
        found.append(f"Debian packages are to be installed ({', '.join(dependencies.system)})")
    found += [
        f"{name} among the requirements is a URL or source code for pip" for name in needs_pip
    ]
    if unknown_python:
        found.append(f"the Python of {unknown_python} is not told by predictor.python_version")
    found += [f"there are no wheels for {name}" for name in platforms if name not in MACHINES]
    return found
