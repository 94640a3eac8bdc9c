"""Check what is right of an API with fields of a wrong shape, so that one call reports every error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_ml.manifest.manifest import parse_partly
from gitops_ml.release.resolve import unresolvable
from gitops_ml.workspace.manifest_files import (
    dependency_problems,
    label,
    missing_files,
    read_document,
)
from gitops_ml.workspace.predictor_files import source_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from gitops_ml.errors import Problem
    from gitops_ml.manifest.manifest import Manifest
    from gitops_ml.project.project import Project
    from gitops_ml.system.memory import Memory


def partial_problems(
    files: Iterable[Path],
    project: Project | None,
    environments: Iterable[str],
    *,
    memory: Memory,
    check: Callable[[Manifest, Project, str], tuple[object, Iterable[Problem]]],
) -> Iterator[Problem]:
    """Further errors in files that have some, outside of the sections whose shape is wrong.

    ``check`` returns an API in one environment, and its problems there.
    """
    for file in files:
        for manifest in parse_partly(read_document(file, label=label(file))):
            found = [*missing_files(manifest, file.parent)]
            found += dependency_problems(manifest, file.parent)
            found += source_problems([(manifest, file.parent)], project, memory)
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
