"""Messages, docstrings, help texts and documents use the terms of the glossary in CONTRIBUTING.md.

`FORBIDDEN` is the only list of words. Add a word once no text holds it; ``python -m tests.test_language
WORD…`` counts words in each room.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "anew": "again",
    "somebody": "another process, or name the role",
    "nobody": "name the role, or: no request, no field manager",
    "said": "reported",
    "tells": "reports, shows or says what",
    "told": "reported, or: is given",
    "whoever": "the person who, or name the role",
    "somebody was faster": "the branch moved",
    "what stands there": "current release",
    "manners": "name the rule",
    "lets us in": "accepts the credentials",
}
"""Words and phrases that no text may hold, and what to say instead."""
SOURCES = ("gitops_ml", "predictor_base", "charts", "schemas", "examples", "bench", "docs", ".")
TEMPLATES = (".j2", ".tpl", ".html", ".md", ".yaml", ".yml", ".txt")


class Text(NamedTuple):
    """A text that a person reads, and where it is."""

    file: Path
    line: int
    text: str

    @property
    def room(self) -> str:
        """The folder of the file; for documents at the top, the document."""
        parts = self.file.relative_to(ROOT).parts
        return "/".join(parts[:2]) if parts[0] in ("gitops_ml", "predictor_base") else parts[0]


def of_python(path: Path, source: str) -> Iterator[Text]:
    """All texts of a module that are more than a name: messages, help, docstrings, comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(path, node.lineno, node.value)
    for number, line in enumerate(source.splitlines(), 1):
        if comment := re.search(r"(?:^|\s)#\s(.*)", line):
            yield Text(path, number, comment[1])


def of_schema(path: Path, source: str) -> Iterator[Text]:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("description", "title", "$comment") and isinstance(inner, str):
                    yield inner
                else:
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    for text in walk(json.loads(source)):
        yield Text(path, source[: source.find(text[:20])].count("\n") + 1, text)


def of_text(path: Path, source: str) -> Iterator[Text]:
    """Each line together with the next, so that a phrase may be folded."""
    lines = [*source.splitlines(), ""]
    for number, (line, following) in enumerate(itertools.pairwise(lines), 1):
        yield Text(path, number, f"{line} {following.split(' ')[0]}")


def texts_of(path: Path) -> Iterator[Text]:
    source = path.read_text("utf-8")
    if path.suffix == ".py":
        return of_python(path, source)
    return of_schema(path, source) if path.suffix == ".json" else of_text(path, source)


def files() -> Iterator[Path]:
    for name in SOURCES:
        folder = ROOT / name
        for path in sorted(folder.glob("*.md") if name == "." else folder.rglob("*")):
            is_schema = path.suffix == ".json" and name == "schemas"
            is_text = path.suffix in (".py", *TEMPLATES) and path.name != "corpus.txt"
            if is_text or is_schema:
                yield path


def found(words: Iterable[str], texts: Iterable[Text]) -> Iterator[tuple[str, Text]]:
    """Each use of a word, in any case and over the ends of lines."""
    patterns = {
        word: re.compile(rf"\b{re.escape(word)}\b".replace(r"\ ", r"\s+"), re.IGNORECASE)
        for word in words
    }
    for text in texts:
        for word, pattern in patterns.items():
            if pattern.search(text.text):
                yield word, text


def is_glossary(text: Text) -> bool:
    """The table of CONTRIBUTING.md names words that are not to be used."""
    return text.file.name == "CONTRIBUTING.md" and text.text.startswith("|")


def every_text() -> list[Text]:
    texts = [text for path in files() for text in texts_of(path)]
    return [text for text in texts if not is_glossary(text)]


def test_no_text_holds_a_forbidden_word() -> None:
    uses = [
        f"{text.file.relative_to(ROOT)}:{text.line}: {word!r}: say: {FORBIDDEN[word]}"
        for word, text in found(FORBIDDEN, every_text())
    ]
    assert not uses, "\n".join(uses)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", 'raise ValueError(f"{name}: what\\nstands there is old")'),
        ("a.py", '"""Build it\nanew."""'),
        ("a.py", "x = 1  # roll it out anew"),
        ("a.json", '{"properties": {"x": {"description": "What stands there."}}}'),
        ("a.md", "it is what stands\nthere"),
        ("a.j2", "{# Anew #}"),
    ],
)
def test_a_forbidden_word_is_found_in_each_kind_of_text(name: str, source: str) -> None:
    path = ROOT / name
    kind = {".py": of_python, ".json": of_schema}.get(path.suffix, of_text)
    assert len([*found(FORBIDDEN, kind(path, source))]) == 1


def test_an_identifier_and_a_part_of_a_word_are_not_forbidden() -> None:
    source = 'anew = renewed("anew", "the renewed lock")\n'
    assert not [*found(FORBIDDEN, of_python(ROOT / "a.py", source))]


def _print_counts(words: list[str]) -> None:
    counts = Counter((text.room, word) for word, text in found(words, every_text()))
    rooms = sorted({room for room, _ in counts})
    print(f"{'room':<28}", *(f"{word:>9}" for word in words))
    for room in rooms:
        print(f"{room:<28}", *(f"{counts[room, word]:>9}" for word in words))
    print(f"{'all':<28}", *(f"{sum(counts[r, word] for r in rooms):>9}" for word in words))


if __name__ == "__main__":
    _print_counts(sys.argv[1:] or list(FORBIDDEN))
