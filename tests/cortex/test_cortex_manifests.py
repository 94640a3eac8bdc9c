"""The manifests of Cortex's own examples are read, and mean what they meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_ml.manifest.conflicts import check_manifests
from gitops_ml.manifest.cortex_differences import RULE
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.project.reader import default_project
from gitops_ml.release.resolve import resolve, unresolvable
from gitops_ml.release.rules.check_release import check_release
from gitops_ml.workspace.manifest_files import read_document

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE / "v0.25").glob("*.yaml"))
OLDER = sorted((HERE / "v0.24").glob("*.yaml"))

# Cortex refused a second use of a file's names; the examples keep to that, so nothing else is wrong.
KNOWN_WARNINGS = ("max_replica_concurrency",)


def parsed(file: Path):
    return parse_manifests(read_document(file, label=file.name))


def test_all_43_manifests_are_here():
    assert len(EXAMPLES) == 43


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_manifest_of_cortex_is_accepted_as_it_is(file):
    manifests, problems = parsed(file)
    assert [p for p in problems if p.rule != RULE and not p.path.endswith(KNOWN_WARNINGS)] == []
    assert tuple(check_manifests(manifests)) == ()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_manifest_of_cortex_breaks_no_rule_on_a_plain_cluster(file):
    manifests, _ = parsed(file)
    project = default_project()
    for manifest in manifests:
        if list(unresolvable(manifest, project)):
            assert manifest.kind != "RealtimeAPI"
            continue
        spec = resolve(manifest, project, "default")
        environment = project.environments["default"]
        found = check_release(spec, project.clusters["in-cluster"], environment=environment)
        assert [each for each in found if each.severity == "error"] == []


@pytest.mark.parametrize("file", OLDER, ids=lambda file: file.stem)
def test_the_spelling_of_the_version_before_means_the_same(file):
    old, problems = parsed(file)
    new, _ = parsed(HERE / "v0.25" / file.name)
    assert [m.body for m in old] == [m.body for m in new]
    assert {p.severity for p in problems} == {"warning"}
