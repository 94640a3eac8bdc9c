"""Each example manifest of Cortex v0.14 to v0.42 is valid on a new project, or refused with a remedy.

All tags of the clone are walked. `python tests/predictor_base/cortex/test_every_manifest.py` prints the outcomes by
kind.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml

from gitops_ml.commands.init import init
from gitops_ml.commands.validate import validate
from gitops_ml.manifest.cortex_differences import RULE

CLONE = os.environ.get("CORTEX_CLONE")
pytestmark = pytest.mark.skipif(
    not CLONE, reason="CORTEX_CLONE names no clone of cortexlabs/cortex"
)
SECTIONS = {"predictor", "handler", "pod", "apis", "definition", "kind", "endpoint"}
REFUSED = {
    "min_replicas: nothing would wake the API": "Use min_replicas: 1",
    "serves no gRPC service of its own protobuf": "`predict(self, payload)`",
    "unknown node group": "node_groups of the project file",
}
"""What cannot exist on a plain cluster, and what the message says to write instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `validate` says of a manifest of one tag."""

    tag: str
    path: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    differences: tuple[str, ...]


def git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", "-C", str(CLONE), *arguments], capture_output=True, check=True
    ).stdout


def version(tag: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", tag)))


@cache
def is_manifest(blob: str) -> bool:
    documents = yaml.safe_load_all(git("cat-file", "blob", blob))
    try:
        return any(
            isinstance(apis, list)
            and apis
            and all(isinstance(a, dict) and "name" in a and SECTIONS & {*a} for a in apis)
            for apis in documents
        )
    except yaml.YAMLError:
        return False


def entries(tag: str) -> dict[str, str]:
    """The ids of all files and folders of a tag."""
    listed = git("ls-tree", "-r", "-t", tag).decode().splitlines()
    return {path: each.split()[2] for each, _, path in (line.partition("\t") for line in listed)}


@cache
def project_file() -> str:
    """The project file that `gitops-ml init` writes."""
    folder = Path(mkdtemp())
    init(
        folder,
        name="new",
        image_repository="ghcr.io/a/b",
        gitops_repository="https://g.example/a.git",
    )
    return (folder / "gitops-ml.yaml").read_text()


@cache
def checked(folder: Path, tree: str, file: str) -> tuple[tuple[str, ...], ...]:
    project = folder / tree
    if not project.exists():
        project.mkdir()
        (project / "gitops-ml.yaml").write_text(project_file())
        with tarfile.open(fileobj=io.BytesIO(git("archive", tree))) as archive:
            archive.extractall(project, filter="tar")
    problems = [each.problems for each in validate([project / file])]
    return (
        tuple(str(e) for p in problems for e in p.errors),
        tuple(str(w) for p in problems for w in p.warnings),
        tuple(w.message for p in problems for w in p.warnings if w.rule == RULE),
    )


@cache
def outcomes() -> tuple[Outcome, ...]:
    folder = Path(mkdtemp())
    found = []
    for tag in sorted(git("tag").decode().split(), key=version):
        if version(tag) < (0, 14):
            continue
        ids = entries(tag)
        for path in [p for p in ids if p.endswith((".yaml", ".yml")) and is_manifest(ids[p])]:
            directory, _, file = path.rpartition("/")
            found.append(Outcome(tag, path, *checked(folder, ids[directory], file)))
    return tuple(found)


def test_every_manifest_is_valid_or_refused_with_a_remedy() -> None:
    assert len(outcomes()) > 1_000
    wrong = defaultdict(list)
    for outcome in outcomes():
        for error in outcome.errors:
            remedies = [text for part, text in REFUSED.items() if part in error]
            if not remedies or remedies[0] not in error:
                wrong[error].append(outcome.tag)
    assert not wrong
    assert sum(not outcome.errors for outcome in outcomes()) >= 0.98 * len(outcomes())


def test_every_difference_is_stated_once_in_a_manifest() -> None:
    stated = Counter(text for outcome in outcomes() for text in outcome.differences)
    assert all(len({*each.differences}) == len(each.differences) for each in outcomes())
    assert len(stated) >= 10


if __name__ == "__main__":
    for kind in ("errors", "warnings"):
        count = Counter(
            text.partition(": ")[2] for each in outcomes() for text in getattr(each, kind)
        )
        print(
            f"{kind}: {sum(not getattr(each, kind) for each in outcomes())} of {len(outcomes())} without"
        )
        for text, times in count.most_common():
            print(f"{times:5} {text}")
