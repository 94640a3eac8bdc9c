"""The facts that the lock of an image is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.errors import UsageError
from gitops_ml.packages.lock_file import MACHINES, inputs_fingerprint
from gitops_ml.packages.locking import LockFacts
from gitops_ml.runtime.runtime_package import APP, RUNTIME
from gitops_ml.system.project_files import file_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.image.context import BuildContext


def lock_facts(
    context: BuildContext, *, predictor_type: str, python: str, platforms: Iterable[str]
) -> LockFacts:
    """The facts that the lock of a project depends on.

    Raises:
        UsageError: no lock can be made for one of the platforms, or no Python is named.
    """
    chosen = tuple(sorted(set(platforms)))
    if unknown := [platform for platform in chosen if platform not in MACHINES]:
        raise UsageError(f"images without Docker are made for {', '.join(MACHINES)}: {unknown[0]}")
    if not python:
        raise UsageError("name the Python of the base image: image.python_version, such as 3.12")
    directory = context.roots[RUNTIME] / "predictor_base"
    names = ("requirements.txt", f"requirements-{predictor_type}.txt")
    runtime = tuple(directory / name for name in names if (directory / name).is_file())
    known = {file.path: file.fingerprint for file in context.inputs}
    files = {path: known.get(f"{APP}/{path}", "") for path in context.pip_files}
    return LockFacts(
        project=context.roots[APP],
        requirements=context.dependencies.pip,
        runtime=runtime,
        constraints=directory / "constraints.txt",
        python=python,
        platforms=chosen,
        files=tuple(files),
        inputs=inputs_fingerprint(
            python=python,
            platforms=chosen,
            files=files,
            runtime=[file_fingerprint(path) for path in runtime],
        ),
    )
