"""Files in `valid` pass; files in `invalid` fail with the sentences on their first lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.release.resolve import resolve, unresolvable
from gitops_ml.release.rules.check_release import check_release
from gitops_ml.workspace.manifest_files import read_document, read_project_file

HERE = Path(__file__).parent


def problems_of(file: Path) -> tuple[str, ...]:
    """Every problem of a file in every environment of the project beside this test."""
    project, wrong = read_project_file(HERE / "gitops-ml.yaml")
    assert project is not None, wrong
    manifests, problems = parse_manifests(read_document(file, label="api.yaml"))
    found = [*problems, *check_manifests(manifests)]
    for manifest in manifests:
        if refused := [manifest.problem(each) for each in unresolvable(manifest, project)]:
            found += [each for each in refused if "this version cannot deploy it" not in str(each)]
            continue
        for name, environment in project.environments.items():
            spec = resolve(manifest, project, name)
            cluster = project.clusters[spec.cluster]
            findings = check_release(spec, cluster, environment=environment, teams=project.teams)
            found += [manifest.problem(each, environment=name) for each in findings]
    return tuple(dict.fromkeys(str(problem) for problem in sorted(found)))


def files(folder: str) -> list[Path]:
    return sorted((HERE / folder).glob("*.yaml"))


def expected(file: Path) -> tuple[str, ...]:
    lines = file.read_text().splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("# "))
    return tuple(line.removeprefix("# ") for line in lines[:end])


@pytest.mark.parametrize("file", files("valid"), ids=lambda file: file.stem)
def test_a_valid_manifest_has_no_problem(file):
    assert problems_of(file) == ()


@pytest.mark.parametrize("file", files("invalid"), ids=lambda file: file.stem)
def test_an_invalid_manifest_gets_the_sentences_on_its_first_lines(file):
    assert problems_of(file) == expected(file)
