"""Known vulnerabilities of packages, from a folder in the OSV format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.errors import UsageError
from gitops_ml.packages.advisories import Advisory, read_advisories

if TYPE_CHECKING:
    from pathlib import Path


def osv(id: str, name: str, *events: dict[str, str], **others: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": others.pop("ecosystem", "PyPI"), "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": others.pop("versions", []),
    }
    return {"id": id, "summary": f"About {name}", "affected": [affected], **others}


def kept(folder: Path, *documents: Any) -> Path:
    for number, document in enumerate(documents):
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{number:03}.json").write_text(text)
    return folder


CASES = [
    ([{"introduced": "0"}, {"fixed": "2.0"}], {"1.0": True, "2.0": False, "2.0rc1": True, "0.1a1": True}),
    ([{"introduced": "1.5"}, {"fixed": "1.10"}], {"1.4": False, "1.9": True, "1.10": False}),
    ([{"introduced": "0"}, {"last_affected": "1.3"}], {"1.3": True, "1.3.1": False}),
    ([{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}, {"fixed": "2.1"}],
     {"0.9": True, "1.5": False, "2.0.5": True, "2.1": False}),
    ([{"introduced": "1.0"}], {"0.9": False, "7": True}),
]  # fmt: skip


@pytest.mark.parametrize(("events", "versions"), CASES)
def test_the_events_of_a_range_decide(tmp_path, events, versions):
    folder = kept(tmp_path, osv("X-1", "numpy", *events))
    found = read_advisories(folder, [("numpy", version) for version in versions]).found
    assert {version: ("numpy", version) in found for version in versions} == versions


def test_an_advisory_has_its_id_its_summary_and_the_next_fixed_version(tmp_path):
    events = [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}, {"fixed": "2.1"}]
    folder = kept(tmp_path, osv("PYSEC-1", "Scikit_Learn", *events))
    (found,) = read_advisories(folder, [("scikit-learn", "2.0")]).found.values()
    assert found == (Advisory("PYSEC-1", "About Scikit_Learn", "2.1"),)


def test_listed_versions_count_and_what_does_not_is_left_out(tmp_path):
    folder = kept(
        tmp_path,
        osv("A-1", "numpy", versions=["1.2"]),
        osv("A-2", "numpy", {"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z"),
        osv("A-3", "numpy", {"introduced": "0"}, ecosystem="npm"),
        osv("A-4", "numpy", versions=["1.2"], aliases=["A-1"]),
        osv("A-5", "pandas", {"introduced": "0"}),
        'no JSON, but "numpy"',
        '["numpy"]',
    )
    found = read_advisories(folder, [("numpy", "1.2")])
    assert [each.id for each in found.found["numpy", "1.2"]] == ["A-1"]
    assert len(found.unread) == 2


UNREAD = {
    "no JSON": ('{"id": "numpy"', "Expecting"),
    "another document": ('["numpy"]', "it has no id"),
    "a key twice": ('{"id": "A", "affected": [{"package": {"name": "numpy", "name": "six"}}]}', "the same key twice"),
    "another type": ('{"id": "A", "affected": "numpy"}', "`affected` is no list"),
    "too large": (" " * (4 << 20) + '"numpy"', "make it smaller"),
    "too deep": ('{"id": "numpy", "x": ' + "[" * 100_000, "recursion"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREAD)
def test_a_file_that_may_hide_a_vulnerability_is_named_with_the_reason(tmp_path, kind):
    text, reason = UNREAD[kind]
    (unread,) = read_advisories(kept(tmp_path, text), [("numpy", "1.2")]).unread
    assert unread.startswith(f"{tmp_path}/000.json: ")
    assert reason in unread


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_advisories(tmp_path / "nowhere", [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("numpy"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "affected", "package", "name", "ranges", "events", "introduced", "fixed",
                         "versions", "aliases", "ecosystem", "summary", "type"]), inner, max_size=5),
)  # fmt: skip


@given(document=JSON)
def test_any_document_is_read_without_a_failure(tmp_path_factory, document):
    folder = kept(tmp_path_factory.mktemp("osv"), document, {"id": "numpy", "affected": [document]})
    read_advisories(folder, [("numpy", "1.0")])


def test_a_version_of_thousands_of_digits_is_none_of_ours(tmp_path):
    folder = kept(tmp_path, osv("A-1", "six", {"introduced": "0"}, {"fixed": "9" * 5000}))
    assert [*read_advisories(folder, [("six", "1.0")]).found] == [("six", "1.0")]
