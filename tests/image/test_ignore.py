"""Ignore rules: each file in its own syntax, compared with git itself where git defines it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_ml.image.tree import (
    INCLUDED,
    IgnoreRules,
    Verdict,
    ignore_rules,
    is_manifest,
    parse_dockerignore,
    parse_gitignore,
)
from gitops_ml.image.wildcards import (
    ALL,
    FOLDERS,
    STAR,
    BadPattern,
    Patterns,
    docker_tokens,
    git_tokens,
)
from tests.support.cost import costs_little

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def is_excluded(rules: IgnoreRules, path: str) -> bool:
    """Whether a file stays out, asked from the root down as a walk does."""
    verdict: Verdict = INCLUDED
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        verdict = rules.decide(name, is_directory=depth < len(parts), parent=verdict)
    return verdict.is_excluded


def left(rules: IgnoreRules, paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not is_excluded(rules, path)]


def only(text: str, *, docker: bool = False) -> IgnoreRules:
    parse = parse_dockerignore if docker else parse_gitignore
    return IgnoreRules((parse(text, source=".dockerignore" if docker else ".gitopsmlignore"),))


segments = st.text("ab*?[]!^-\\", min_size=1, max_size=4) | st.sampled_from(["**", "a", "b", "*"])
patterns = st.builds(
    lambda bang, start, middle, end: bang + start + "/".join(middle) + end,
    bang=st.sampled_from(["", "", "!"]),
    start=st.sampled_from(["", "", "/"]),
    middle=st.lists(segments, min_size=1, max_size=3),
    end=st.sampled_from(["", "", "/", "  "]),
)
files = st.lists(st.sampled_from(["a", "b", "ab", "ba", "a-b"]), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    return path


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(patterns, min_size=1, max_size=4), paths=st.lists(files, max_size=8))
def test_gitignore_syntax_means_what_git_means(
    repository: Path, lines: list[str], paths: list[list[str]]
) -> None:
    names = sorted({"/".join(parts) for parts in paths})
    # a name cannot be a file and a directory: git looks at the work tree, so it must be there
    parents = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    names = [name for name in names if name not in parents]
    (repository / ".gitignore").write_text("\n".join(lines) + "\n")
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    try:
        output = subprocess.run(
            ["git", "-C", str(repository), "check-ignore", "-z", "--no-index", "--stdin"],
            input="\0".join(names).encode(), capture_output=True, check=False,
        ).stdout  # fmt: skip
    finally:
        subprocess.run(["git", "-C", str(repository), "clean", "-xdfq"], check=True)
    ignored = set(output.decode().split("\0")) - {""}
    assert {n for n in names if is_excluded(only("\n".join(lines)), n)} == ignored


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        # from the tests of github.com/moby/patternmatcher
        ("**", "file", True), ("**", "dir/file", True), ("**/", "file", True),
        ("**/**", "dir/file", True), ("dir/**", "dir/file", True),
        ("dir/**", "dir/dir2/file", True),
        ("**/dir", "dir/file", True), ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/**", "dir/dir2/dir2/file", True), ("**file", "file", True),
        ("**file", "dir/file", True), ("**/file", "dir/dir/file", True),
        ("**/file*", "dir/file", True),
        ("**/file*", "dir/file.txt", True), ("**/file*txt", "dir/file.txt", True),
        ("**/**/*.txt", "dir/file.txt", True), ("**/**/*.txt2", "dir/file.txt", False),
        ("a**/*.txt", "a/file.txt", True), ("a**/*.txt", "a/dir/dir/file.txt", True),
        ("a[b-d]e", "ae", False), ("a[b-d]e", "ace", True), ("a[^b-d]e", "aze", True),
        (".*", ".foo", True), (".*", "foo", False), ("abc.def", "abcdef", False),
        ("abc?def", "abcadef", True), ("a\\*b", "a*b", True), ("a\\*b", "axb", False),
        ("**/foo/bar", "foo/bar", True), ("abc/**", "abc/def", True), ("**/.foo", "bar/.foo", True),
        ("foo", "sub/foo", False), ("/foo", "foo", True), ("./foo/", "foo/bar", True),
        ("foo/../bar", "bar", True), (" padded ", "padded", True), ("foo", "foo/deep/er", True),
        ("*/temp*", "sub/temporary.txt", True), ("*/temp*", "a/b/temporary.txt", False),
        ("temp?", "tempa", True), ("#no", "#no", False), (".", "x", False), ("é*", "était", True),
    ],
)  # fmt: skip
def test_dockerignore_syntax_means_what_docker_means(
    pattern: str, path: str, matches: bool
) -> None:
    assert is_excluded(only(pattern, docker=True), path) is matches


def expression_of(tokens) -> re.Pattern[str]:
    """What a pattern means, as an expression that is right and, in bad cases, slow."""
    spelled = {STAR: "[^/]*", FOLDERS: "(?:.*/)?", ALL: ".*"}
    parts = (
        spelled.get(token) or (re.escape(token) if isinstance(token, str) else token.pattern)
        for token in tokens
    )
    return re.compile("".join(parts), re.DOTALL)


texts = st.lists(
    st.text("ab*?/[]!^-\\.", min_size=1, max_size=8) | st.sampled_from(["**/a", "a**/*b", "*/**/b"]),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    texts=texts,
    paths=st.lists(st.text("ab/.\n", min_size=1, max_size=7), max_size=6),
    docker=st.booleans(),
)
def test_many_patterns_at_once_match_as_each_does_alone(texts, paths, docker: bool) -> None:
    found = []
    for text in texts:
        try:
            found.append(docker_tokens(text) if docker else git_tokens(text))
        except BadPattern:
            continue
    together = Patterns(found)
    for path in (path.strip("/") for path in paths):
        matching = [
            number for number, tokens in enumerate(found)
            if path and tokens is not None and expression_of(tokens).fullmatch(path)
        ]  # fmt: skip
        assert together.last(path, above=False) == (matching[-1] if matching else None)


SLOW = {
    "stars": "*a" * 40 + "b",
    "folders": "**/" + "*a" * 30 + "/**/b",
    "many folders": "**/a/" * 40 + "b",
    "docker's": "**a" * 40 + "b",
    "classes": "*[ab]" * 40 + "c",
    "blanks": "x" + " " * 100_000 + "y",
    "backslashes": "\\\\" * 50_000 + " y",
    "thousands": "\n".join(f"*a{n}*a*b" for n in range(9000)),
    "classes by the thousand": "\n".join(f"[{chr(0x4E00 + n)}a]*b" for n in range(9000)),
}


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("what", SLOW)
def test_no_pattern_takes_more_than_a_moment(what: str, docker: bool) -> None:
    names = ["a" * 250, "/".join(["a" * 100] * 40), "a/" * 2000 + "a", "é" * 200]
    with costs_little():
        rules = only(SLOW[what], docker=docker)
        for name in names:
            rules.decide(name, is_directory=False)


@pytest.mark.parametrize(
    "text", ["\n" * 65_000, "  \n" * 20_000, " " * 65_000, "- " * 30_000, "#\n" * 30_000]
)
def test_whether_it_is_a_manifest_takes_no_more_than_a_moment(text: str) -> None:
    with costs_little():
        assert not is_manifest(text)


def test_dockerignore_brings_back_files_of_excluded_directories() -> None:
    rules = only("data\n!data/small/*.csv\ndata/small/b.csv\n", docker=True)
    paths = ["data/x", "data/small/a.csv", "data/small/b.csv", "data/small/a.txt", "main.py"]
    assert left(rules, paths) == ["data/small/a.csv", "main.py"]


def test_dockerignore_lets_a_later_line_about_the_parent_win() -> None:
    assert not is_excluded(only("dir/sub\n!dir\n", docker=True), "dir/sub/file")


@pytest.mark.parametrize("pattern", ["[", "a[", "[]a]", "[x-]", "a\\", "[b-a]"])
def test_a_line_that_docker_refuses_is_refused_with_its_number(pattern: str) -> None:
    with pytest.raises(BadPattern) as caught:
        parse_dockerignore(f"fine\n{pattern}\n")
    assert caught.value.line == 2


def test_the_defaults_leave_out_what_no_image_needs() -> None:
    out = [
        ".git/HEAD", ".hg/store", ".venv/bin/python", ".cache/x", "a/.DS_Store", "m.pyc",
        "a/__pycache__/m.py", "x.egg-info/PKG-INFO", "gitops-ml.yaml", "cortex-debug-1.json",
        "notes.txt~", "#draft#", ".gitopsmlignore", ".dockerignore", "sub/.env", "Thumbs.db",
    ]  # fmt: skip
    kept = [
        ".env",
        "predictor.py",
        "a/b.py",
        "requirements.txt",
        "gitops-ml/x",
        "lib/gitops-ml.yaml",
    ]
    assert left(ignore_rules(()), out + kept) == kept


@pytest.mark.parametrize("name", [".gitopsmlignore", ".cortexignore", ".dockerignore"])
def test_every_ignore_file_can_bring_back_what_the_defaults_leave_out(name: str) -> None:
    rules = ignore_rules([(name, "!.streamlit\n!keep.pyc\n")])
    paths = [".streamlit/config.toml", ".git/HEAD", "keep.pyc", "drop.pyc"]
    assert left(rules, paths) == [".streamlit/config.toml", "keep.pyc"]


def test_bringing_back_a_directory_does_not_bring_back_its_bytecode() -> None:
    rules = ignore_rules([(".gitopsmlignore", "!src/\n")])
    assert left(rules, ["src/__pycache__/a.pyc", "src/a.py"]) == ["src/a.py"]


def test_the_later_file_has_the_last_word() -> None:
    rules = ignore_rules([(".gitopsmlignore", "!data/\ndata/*.bin\n"), (".dockerignore", "data\n")])
    assert left(rules, ["data/a.csv", "data/a.bin"]) == ["data/a.csv"]


def test_a_verdict_names_the_line_that_made_it() -> None:
    rules = ignore_rules([(".gitopsmlignore", "# ours\n\n*.csv\n")])
    assert rules.decide("a.csv", is_directory=False).reason == ".gitopsmlignore:3: *.csv"


def test_windows_line_ends_and_a_byte_order_mark_are_harmless() -> None:
    assert left(only("\ufeff*.csv\r\n!keep.csv\r\n"), ["a.csv", "keep.csv"]) == ["keep.csv"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# ours\n---\n- name: iris\n  kind: RealtimeAPI\n", True),
        ("- kind: 'BatchAPI'\n  name: x\n", True),
        ("openapi: 3.1.0\ninfo: {title: x}\n", False),
        ("- name: a step\n  run: make\n", False),
        ("kind: RealtimeAPI\nname: x\n", False),
        ("", False),
    ],
)
def test_a_manifest_is_told_by_its_content(text: str, expected: bool) -> None:
    assert is_manifest(text) is expected
