"""How an image is made: by the text of a Dockerfile, or without a container.

Both ways have the same folders, so that they make equal images for their users: packages in ``/opt/venv``,
predictor_base in ``/opt/runtime``, the project in ``/app``. Without a container, ``/opt/venv`` is not a virtual
environment, since only a running Python can make one: the base image's Python finds it as the user's site directory.

The order of a Dockerfile is by how often things change: base → system packages and ``dependencies.sh`` → conda
and pip → ``predictor_base`` → code. A change of the code builds and pushes one small layer."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property

from gitops_ml.errors import UsageError
from gitops_ml.image.content_hash import ContentHash, InputFile, Recipe, content_hash
from gitops_ml.image.context import BuildContext
from gitops_ml.oci.image_manifest import BaseConfig, Runtime, canonical_json
from gitops_ml.oci.reference import ImageRef
from gitops_ml.packages.local_files import EVERYTHING
from gitops_ml.packages.lock_file import MACHINES, Lock, lock_path, render_lock
from gitops_ml.packages.requirement_files import RequirementLine
from gitops_ml.release.spec import Dependencies
from gitops_ml.system.resources import template

DOCKER_BUILDER = "docker/1"
"""Counts up when the same Dockerfile and inputs are sent to the engine in another way."""
CONTENT_HASH_LABEL = "dev.gitops-ml.content-hash"
USER_ID = 10001
PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPlan:
    """How an engine makes an image: the values for the template of its Dockerfile."""

    base: ImageRef
    platform: str
    python_version: str | None
    """The Python that the base image must have, such as ``3.11``; ``None`` accepts any."""
    dependencies: Dependencies
    pip_files: tuple[str, ...]
    shell_files: tuple[str, ...]
    runtime_requirements: tuple[str, ...]
    """Requirement files of ``predictor_base``, by name."""
    has_environment_file: bool
    """Whether the project has a ``.env``, which ``dependencies.sh`` reads first, as in Cortex."""
    content_hash: ContentHash | None = None
    """Not in the Dockerfile that is hashed."""


def docker_plan(
    context: BuildContext,
    *,
    base: ImageRef,
    platform: str,
    predictor_type: str,
    python_version: str | None,
) -> DockerPlan:
    """The plan of the image that ``context`` becomes on top of ``base``, with its content hash."""
    paths = {file.path for file in context.inputs}
    names = ("requirements.txt", f"requirements-{predictor_type}.txt")
    plan = DockerPlan(
        base=base,
        platform=platform,
        python_version=python_version,
        dependencies=context.dependencies,
        pip_files=context.pip_files,
        shell_files=context.shell_files,
        runtime_requirements=tuple(n for n in names if f"runtime/predictor_base/{n}" in paths),
        has_environment_file="app/.env" in paths,
    )
    return replace(plan, content_hash=content_hash(context.inputs, recipe=docker_recipe(plan)))


def render_dockerfile(plan: DockerPlan) -> str:
    """The text of the Dockerfile; it has the content hash label if ``plan`` has the hash."""
    text = template("Dockerfile.j2", shell=shlex.quote, copy=_copy).render(
        facts=plan,
        dependencies=plan.dependencies,
        base=f"{plan.base.repository}@{plan.base.digest}",
        content_hash_label=CONTENT_HASH_LABEL,
        user_id=USER_ID,
        port=PORT,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def docker_recipe(plan: DockerPlan) -> Recipe:
    """How the Docker engine makes the image: the part of the content hash beside the inputs."""
    text = render_dockerfile(replace(plan, content_hash=None))
    return Recipe(
        builder=DOCKER_BUILDER,
        template=hashlib.sha256(text.encode()).hexdigest(),
        base=plan.base,
        platform=plan.platform,
        python_version=plan.python_version or "",
    )


def _copy(paths: Iterable[str]) -> str:
    """One COPY instruction for each of ``paths`` of the project."""
    if EVERYTHING in (paths := tuple(paths)):
        return "COPY app/ /app/"
    return "\n".join(
        f"COPY {json.dumps([f'app/{path}', f'/app/{path}'], ensure_ascii=False)}" for path in paths
    )


BUILDER = "oci/1"
"""Counts up when equal inputs give other bytes."""
LOCK_LABEL = "dev.gitops-ml.lock"
OPENAPI_LABEL = "dev.gitops-ml.openapi"
SCHEMA_LABEL = "dev.gitops-ml.deployment-schema"
DEPLOYMENT_SCHEMA = "1"
"""Counts up when the content of images, or the meaning of labels, changes for their readers."""
PREFIX = "opt/venv"
RUNTIME = "opt/runtime"
APP = "app"
ENTRYPOINT = ("python3", "-m", "predictor_base")
MADE_LAYERS = {
    "packages": "gitops-ml: the packages of the lock",
    "runtime": "gitops-ml: predictor_base",
    "code": "gitops-ml: the project",
}
"""The layers on top of the base image, from below, by role; the text is in the history."""

_ENV = {
    "HOME": "/tmp",  # noqa: S108 - the only writable folder of the pod
    # /etc/passwd has no entry: getpass.getuser() and its users read these variables first
    "LOGNAME": "predictor",
    "USER": "predictor",
    "PYTHONUNBUFFERED": "1",
    # the image has no bytecode, which only its own Python can make: each worker finds the
    # bytecode that the first one wrote
    "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108 - likewise
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def site_packages(python: str) -> str:
    return f"{PREFIX}/lib/python{python}/site-packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorSource:
    """The predictor whose OpenAPI document is in a label of the image."""

    api: str
    path: str
    """Its file, relative to the project."""
    class_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class OciPlan:
    """Everything that decides the content of an image."""

    context: BuildContext
    lock: Lock
    base: ImageRef
    """By digest."""
    platforms: tuple[str, ...]
    predictor: PredictorSource | None = None
    epoch: int = 0
    """The time of everything in the image: ``SOURCE_DATE_EPOCH``."""
    named: ContentHash | None = None
    """The hash of an image whose lock is not decided by its project."""
    asked: Callable[[], Sequence[RequirementLine]] | None = field(default=None, compare=False)
    """What the requirements ask for: the wheels must be what they come to, and no more."""

    @cached_property
    def unlocked_context(self) -> BuildContext:
        """Without the lock file, whose text is made from ``lock``."""
        return _without_lock_file(self.context)

    @cached_property
    def lock_text(self) -> bytes:
        """The lock file in the image."""
        return render_lock(self.lock, requirements=self.context.dependencies.pip).encode()

    @cached_property
    def content_hash(self) -> ContentHash:
        if self.named is not None:
            return self.named
        recipe = oci_recipe(
            base=self.base,
            platforms=self.platforms,
            lock=self.lock,
            predictor=self.predictor,
            epoch=self.epoch,
        )
        lock_file = InputFile(
            path=f"{APP}/{lock_path(self.context.dependencies.pip)}",
            is_link=False,
            is_executable=False,
            fingerprint=hashlib.sha256(self.lock_text).hexdigest(),
        )
        return content_hash((*self.unlocked_context.inputs, lock_file), recipe=recipe)


def unlocked_hash(context: BuildContext, *, base: ImageRef, inputs: str) -> ContentHash:
    """The provisional hash of an image without a lock.

    ``inputs`` is the fingerprint of what the lock is made from. No image ever has this hash.
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


def proxy_hash(
    context: BuildContext, *, base: ImageRef, platforms: Iterable[str], python: str, epoch: int
) -> ContentHash:
    """The hash of the image of the proxy: the runtime alone, whose constraints decide its packages.

    It is the same on every machine, before anything is resolved.
    """
    recipe = Recipe(
        builder=f"{BUILDER} proxy",
        template=_template(),
        base=base,
        platform=",".join(sorted(platforms)),
        python_version=python,
        build_args={"epoch": str(epoch)} if epoch else {},
    )
    return content_hash(context.inputs, recipe=recipe)


def _template() -> str:
    constants = [_ENV, _PATH, ENTRYPOINT, PREFIX, RUNTIME, APP, PORT, USER_ID]
    return hashlib.sha256(canonical_json(constants)).hexdigest()


def _without_lock_file(context: BuildContext) -> BuildContext:
    path = f"{APP}/{lock_path(context.dependencies.pip)}"
    return replace(context, inputs=tuple(file for file in context.inputs if file.path != path))


def oci_recipe(
    *,
    base: ImageRef,
    platforms: Iterable[str],
    lock: Lock,
    predictor: PredictorSource | None = None,
    epoch: int = 0,
) -> Recipe:
    """How the image is made: the part of the content hash beside the inputs."""
    chosen = sorted(platforms)
    locks = {f"lock:{platform}": lock.fingerprint(platform) for platform in chosen}
    return Recipe(
        builder=BUILDER,
        template=_template(),
        base=base,
        platform=",".join(chosen),
        python_version=lock.python,
        build_args={
            **locks,
            **({"described": json.dumps(astuple(predictor))} if predictor else {}),
            **({"epoch": str(epoch)} if epoch else {}),
        },
    )


def check_base(base: BaseConfig, *, python: str, name: ImageRef) -> None:
    """Check that the base image has the Python of the lock.

    Raises:
        UsageError: its config names another Python.
    """
    found = ".".join(base.environ.get("PYTHON_VERSION", python).split(".")[:2])
    if found != python:
        raise UsageError(
            f"the base image {name} has Python {found}, but the image needs {python}: "
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
    """How an image on top of ``base`` runs; ``labels`` are added to its own."""
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
    """The variables with which the base image's Python finds the packages."""
    if "VIRTUAL_ENV" in base.environ or "PYTHONNOUSERSITE" in base.environ:
        # a virtual environment of the base image ignores the user's site directory
        return {"PYTHONPATH": f"/{site_packages(python)}:/{RUNTIME}"}
    return {"PYTHONUSERBASE": f"/{PREFIX}"}


@dataclass(frozen=True, slots=True)
class BuilderChoice:
    """Which builder makes an image, and why."""

    builder: str
    """``docker`` or ``oci``."""
    reason: str


def choose_builder(
    setting: str,
    *,
    dependencies: Dependencies | None = None,
    needs_pip: Iterable[str] = (),
    unknown_python: str | None = None,
    platforms: Iterable[str] = ("linux/amd64",),
) -> BuilderChoice:
    """The builder for one predictor; ``setting`` is ``auto``, ``docker`` or ``oci``.

    ``needs_pip`` are requirements that are not wheels, and ``unknown_python`` is a base image whose
    Python is not named, so that no wheel can be chosen for it.

    Raises:
        UsageError: ``setting`` is ``oci``, and something has to run in a container; or an engine would
            have to make an image for several platforms.
    """
    chosen = tuple(platforms)
    needs = _needs(dependencies, needs_pip, unknown_python, chosen)
    if setting == "oci" and needs:
        raise UsageError(
            f"image.builder is oci, which runs nothing, but {needs[0]}: set it to auto or docker, "
            "or make a base image that has it (image.base)"
        )
    if setting == "auto" and not needs:
        return BuilderChoice("oci", "nothing in it needs a container")
    reason = (
        f"{needs[0]}, which needs a container" if setting == "auto" else "image.builder says so"
    )
    if setting == "oci":
        return BuilderChoice("oci", reason)
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
    """What needs a container, as statements."""
    found = []
    if dependencies and dependencies.shell:
        found.append(f"{dependencies.shell} is a script")
    if dependencies and dependencies.conda:
        found.append(f"{dependencies.conda} names conda packages")
    if dependencies and dependencies.system:
        found.append(f"Debian packages are to be installed ({', '.join(dependencies.system)})")
    found += [
        f"{name} among the requirements is source code, which pip has to build"
        for name in needs_pip
    ]
    if unknown_python:
        found.append(f"predictor.python_version does not name the Python of {unknown_python}")
    found += [f"there are no wheels for {name}" for name in platforms if name not in MACHINES]
    return found
