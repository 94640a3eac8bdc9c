"""Which locked packages a change moves, and what is known about their new versions."""

from __future__ import annotations

import json

import pytest

from gitops_ml.image.context import read_context
from gitops_ml.image.planner import lock_facts
from gitops_ml.packages.lock_file import Lock, LockedPackage, render_lock
from gitops_ml.packages.locking import requirement_lines_of
from gitops_ml.project.reader import default_project
from gitops_ml.review.reports.markdown_comment import comment
from tests.support.git_servers import git
from tests.support.projects import predictor_spec
from tests.support.source_changes import OTHER_DIGEST, Source

pytest.importorskip("helm_python")

SETTINGS = default_project().image


def locks(source: Source, *, size: int = 0, **versions: str) -> None:
    """Iris requires these packages, and has a lock with these versions of them, each of ``size`` bytes."""
    source.text("iris/requirements.txt", "".join(f"{name}\n" for name in versions))
    facts = lock_facts(
        read_context(source.folder / "iris", predictor=predictor_spec()),
        predictor_type="python",
        python=SETTINGS.python_version,
        platforms=SETTINGS.platforms,
    )
    required = {
        line.name: next((each.version for each in line.requirement.specifier), "1.0")
        for line in requirement_lines_of(facts)
        if not line.is_constraint
    }
    packages = tuple(
        LockedPackage(
            name,
            version,
            f"{number:064x}",
            file=f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
            size=size,
        )
        for number, (name, version) in enumerate(sorted({**required, **versions}.items()))
    )
    found = Lock(
        python=facts.python, platforms=facts.platforms, inputs=facts.inputs, packages=packages
    )
    source.text("iris/pylock.toml", render_lock(found, requirements="requirements.txt"))


@pytest.fixture
def source(tmp_path):
    """Iris with a lock of two packages."""
    source = Source(tmp_path / "source")
    locks(source, numpy="2.0.0", tiny="1.0")
    source.commits()
    git("branch", "-f", "main", cwd=source.folder)
    return source


def test_each_package_is_shown_with_both_versions(source):
    locks(source, numpy="2.1.0", other="3.0")
    review = source.checked()
    staging = review.releases[-1]
    assert [(each.name, each.before, each.after) for each in staging.packages] == [
        ("numpy", "2.0.0", "2.1.0"),
        ("other", None, "3.0"),
        ("tiny", "1.0", None),
    ]
    text = comment(review)
    assert "`numpy 2.0.0 → 2.1.0`" in text
    assert "`other 3.0 (new)`" in text
    assert "`tiny 1.0 → removed`" in text
    assert staging.image
    assert "3 locked packages" in staging.image.why
    assert staging.image.not_known == ("the packages",)
    assert "kB and the packages to push" in text


def test_the_bytes_of_packages_are_those_of_their_wheels(source):
    locks(source, size=20_000_000, numpy="2.1.0", tiny="1.0")
    image = source.checked().releases[-1].image
    assert image
    assert image.not_known == ()
    count = (source.folder / "iris" / "pylock.toml").read_text().count("[[packages]]")
    assert image.bytes_to_push
    assert 0 < image.bytes_to_push - count * 20_000_000 < 20_000


@pytest.mark.parametrize(
    ("change", "known", "not_known"),
    [
        (lambda s: s.text("iris/words.txt", "x" * 5000), True, ()),
        (lambda s: s.configures("image.base", f"python:3.12-slim@{OTHER_DIGEST}"), False, ("the base image",)),
        (lambda s: s.text("iris/requirements.txt", "pandas\n"), True, ("the packages",)),
        (lambda s: s.adds("tulip", "iris"), True, ("the base image", "the packages")),
    ],
)  # fmt: skip
def test_what_is_pushed_is_named_where_its_bytes_are_not_known(source, change, known, not_known):
    locks(source, size=1000, numpy="2.0.0", tiny="1.0")
    source.commits()
    git("branch", "-f", "main", cwd=source.folder)
    change(source)
    found = {each.api: each.image for each in source.checked().releases}
    image = found.get("tulip") or found["iris"]
    assert image
    assert (image.bytes_to_push is not None, image.not_known) == (known, not_known)


def test_known_vulnerabilities_of_the_new_versions_are_shown(source, tmp_path):
    folder = tmp_path / "osv"
    folder.mkdir()
    affected = {
        "package": {"ecosystem": "PyPI", "name": "numpy"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "2.1"}, {"fixed": "2.1.3"}]}],
    }
    document = {"id": "PYSEC-2026-1", "summary": "Reads too far", "affected": [affected]}
    (folder / "one.json").write_text(json.dumps(document))
    locks(source, numpy="2.1.0", tiny="1.0")
    text = comment(source.checked(advisories=folder))
    assert "numpy 2.0.0 → 2.1.0; PYSEC-2026-1: Reads too far, fixed in 2.1.3" in text
    assert "take versions without known vulnerabilities" in text


def test_a_lock_that_is_older_than_the_requirements_is_named(source):
    source.text("iris/requirements.txt", "numpy\npandas\n")
    (warning,) = source.checked().warnings
    assert warning.startswith("iris/pylock.toml is older than the requirements")


def test_locks_that_are_missing_for_the_same_reason_are_one_warning(source):
    for name in ("iris", "tulip", "rose", "lily", "fern"):
        if name != "iris":
            source.adds(name, "iris")
        source.text(f"{name}/requirements.txt", "pandas\n")
    found = [each for each in source.checked().warnings if "pylock.toml" in each]
    assert sorted(each.partition(" pylock")[0].partition(", so ")[0] for each in found) == [
        "each of fern/pylock.toml, lily/pylock.toml, rose/pylock.toml and 1 more is not there",
        "iris/pylock.toml is older than the requirements",
    ]
