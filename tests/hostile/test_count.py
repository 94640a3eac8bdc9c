"""How much there is: fewer inputs than this would be a net with holes."""

from __future__ import annotations

from tests.hostile import test_documents, test_folders, test_git, test_runtime, test_servers

SURFACES = {
    "manifests": test_documents.MANIFESTS,
    "project files": test_documents.PROJECTS,
    "requirements and locks": test_documents.PACKAGES,
    "sources": test_documents.SOURCES,
    "folders": test_folders.FOLDERS,
    "repositories": test_git.SOURCES,
    "GitOps repositories": [*test_git.HELD, *test_git.HISTORIES],
    "git servers": test_git.SERVERS,
    "registries": test_servers.REGISTRIES,
    "tags of registries": test_servers.HEADS,
    "layers": test_servers.ALL_LAYERS,
    "forges": test_servers.FORGES,
    "package indexes": test_servers.INDEXES,
    "wheels": test_servers.WHEELS,
    "clusters": test_servers.CLUSTERS,
    "requests": test_runtime.REQUESTS,
    "gRPC messages": test_runtime.MESSAGES,
}


def test_every_surface_has_its_share_of_at_least_three_hundred_inputs():
    counts = {surface: len(inputs) for surface, inputs in SURFACES.items()}
    assert sum(counts.values()) >= 300, counts
    assert min(counts.values()) >= 7, counts


def test_no_input_hides_another_of_the_same_name():
    for surface, inputs in SURFACES.items():
        names = [str(each[0]) if isinstance(each, tuple) else str(each) for each in inputs]
        assert len(names) == len(set(names)), surface
