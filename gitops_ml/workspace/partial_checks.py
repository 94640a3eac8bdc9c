"""Check what is right of an API with fields of a wrong shape, so that one call reports every error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gitops_ml.errors import Problem
from gitops_ml.manifest.manifest import Manifest
from gitops_ml.project.project import Project
from gitops_ml.release.resolve import unresolvable
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.manifest_files import dependency_problems, missing_files
from gitops_ml.workspace.predictor_files import source_problems

Located = tuple[Manifest, Path]
"""A manifest, and the folder that its paths start from."""


def partial_problems(
    manifests: Iterable[Located],
    project: Project | None,
    environments: Iterable[str],
    *,
    memory: Memory,
    check: Callable[[Manifest, Project, str], tuple[object, Iterable[Problem]]],
) -> Iterator[Problem]:
    """Errors of APIs that are right in part, outside of the sections whose shape is wrong.

    ``check`` returns an API in one environment, and its problems there.
    """
    for manifest, folder in manifests:
        found = [*missing_files(manifest, folder), *dependency_problems(manifest, folder)]
        found += source_problems([(manifest, folder)], project, memory)
        if project is not None:
            refused = [manifest.problem(each) for each in unresolvable(manifest, project)]
            found += refused
            for environment in () if refused else environments:
                found += check(manifest, project, environment)[1]
        sections = {_section(list(map(str, path))) for path in manifest.wrong}
        yield from (
            problem
            for problem in found
            if problem.severity == "error"
            and (not problem.path or _section(problem.path.split(".")[1:]) not in sections)
        )


def _section(steps: list[str]) -> str:
    """The section of an API that a path is in, in any environment."""
    own = steps[2:] if steps[:1] == ["environments"] else steps
    return own[0].partition("[")[0] if own else ""
