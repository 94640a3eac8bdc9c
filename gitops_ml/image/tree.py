"""Walk a directory of inputs under ignore rules, and fingerprint its files.

The rules are the defaults, then the project's ignore files. Each file keeps its own syntax. ``.gitopsmlignore`` and
``.cortexignore`` are gitignore: the last pattern that matches an entry decides, and nothing below an excluded
directory comes back. ``.dockerignore`` is anchored at the root, matches through parent directories, and can bring
back a file of an excluded directory. Of several files the last one that matches an entry decides, so that
``!data/`` in ``.gitopsmlignore`` overrides the defaults and ``.dockerignore``."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gitops_ml.image.content_hash import InputFile
from gitops_ml.image.wildcards import BadPattern, Patterns, Token, docker_tokens, git_tokens
from gitops_ml.system.project_files import KINDS, CannotRead, fingerprint_and_fault, link_fault

PROJECT_FILE = "gitops-ml.yaml"
MANIFEST_NAMES = ("api.yaml", "api.yml", "cortex.yaml")
"""Names of manifests that mark their directory as that of an API."""
IGNORE_FILES = (".dockerignore", ".cortexignore", ".gitopsmlignore")
"""In order of precedence; the last one wins."""

DEFAULTS = f"""\
# hidden files: version control, caches, editors, virtual environments, the ignore files
.*
!/.env
# bytecode and what packaging leaves behind
__pycache__/
*.py[cod]
*.egg-info/
# the project file; manifests are left out by what is in them, see `is_manifest`
/{PROJECT_FILE}
cortex-debug*
# editors and operating systems
*~
\\#*#
*.swp
Thumbs.db
desktop.ini
__MACOSX/
"""

_API_KIND = re.compile(
    r"^[ -] +[\"']?kind[\"']?\s*:\s*[\"']?"
    r"(?:RealtimeAPI|AsyncAPI|BatchAPI|TaskAPI|TrafficSplitter)\b",
    re.MULTILINE,
)
_SIGNIFICANT = re.compile(r"^(?![^\S\n]*#|---|%|[^\S\n]*$).", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an entry stays out, and the rule that decided it."""

    is_excluded: bool
    reason: str
    is_final: bool = False
    """Whether nothing below the entry can come back."""


INCLUDED = Verdict(is_excluded=False, reason="")


@dataclass(frozen=True, slots=True)
class _Rule:
    excludes: bool
    directories_only: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one ignore file, in order."""

    rules: tuple[_Rule, ...]
    reaches_inside: bool
    """Docker's way: a pattern that matches a directory also matches everything in it."""
    patterns: Patterns
    for_files: int
    """The ends of the patterns that match files as well."""

    @property
    def brings_back(self) -> bool:
        """Whether an entry of an excluded directory may be included again."""
        return self.reaches_inside and any(not rule.excludes for rule in self.rules)

    def deciding_rule(self, path: str, *, is_directory: bool) -> _Rule | None:
        """The last rule that matches ``path``."""
        among = -1 if is_directory else self.for_files
        number = self.patterns.last(path, above=self.reaches_inside, among=among)
        return None if number is None else self.rules[number]

    def verdict(self, path: str, *, is_directory: bool) -> Verdict | None:
        """The decision of this file about ``path``, unless it is that about the parent directory."""
        if (rule := self.deciding_rule(path, is_directory=is_directory)) is None:
            return None
        parent = posixpath.dirname(path)
        if self.reaches_inside and self.deciding_rule(parent, is_directory=True) is rule:
            return None
        return Verdict(rule.excludes, rule.reason, is_final=not self.brings_back)


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """All rule sets of a project, the defaults first."""

    sets: tuple[RuleSet, ...]

    def decide(
        self, path: str, *, is_directory: bool, parent: Verdict = INCLUDED, found: str | None = None
    ) -> Verdict:
        """Whether ``path`` stays out.

        ``parent`` is the verdict about its directory; ``found`` is a reason in a directory's content
        to leave it out, which every ignore file can override.
        """
        if parent.is_excluded and parent.is_final:
            return parent
        verdict = Verdict(True, found, is_final=True) if found else parent
        for rules in self.sets:
            verdict = rules.verdict(path, is_directory=is_directory) or verdict
        return verdict

    def without(self, path: str, *, reason: str) -> IgnoreRules:
        """These rules, but no rule includes the directory ``path`` again."""
        escaped = re.sub(r"([\\*?\[\] !#])", r"\\\1", path)
        return IgnoreRules((*self.sets, parse_gitignore(f"/{escaped}/", source=reason)))


def ignore_rules(files: Iterable[tuple[str, str]]) -> IgnoreRules:
    """The defaults and then ``files``: name and text of each ignore file that the project has."""
    sets = [_default_rules()]
    for name, text in sorted(files, key=lambda file: IGNORE_FILES.index(file[0])):
        parse = parse_dockerignore if name == ".dockerignore" else parse_gitignore
        sets.append(parse(text, source=name))
    return IgnoreRules(tuple(sets))


@cache
def _default_rules() -> RuleSet:
    """Parsed once: each image has them."""
    return parse_gitignore(DEFAULTS, source="the defaults")


def parse_gitignore(text: str, *, source: str) -> RuleSet:
    """The rules of a text in gitignore syntax; as in git, a malformed pattern matches nothing."""
    return _rule_set(_gitignore_rules(text, source), reaches_inside=False)


def parse_dockerignore(text: str, *, source: str = ".dockerignore") -> RuleSet:
    """The rules of a text in Docker's syntax."""
    return _rule_set(_dockerignore_rules(text, source), reaches_inside=True)


def is_manifest(text: str) -> bool:
    """Whether a YAML text looks like a list of APIs, and not, for example, like an OpenAPI document."""
    first = _SIGNIFICANT.search(text)
    return first is not None and first[0] == "-" and _API_KIND.search(text) is not None


def _rule_set(
    rules: Iterable[tuple[tuple[Token, ...] | None, _Rule]], *, reaches_inside: bool
) -> RuleSet:
    found = [*rules]
    patterns = Patterns([tokens for tokens, _ in found])
    for_files = (n for n, (_, rule) in enumerate(found) if not rule.directories_only)
    return RuleSet(
        tuple(rule for _, rule in found), reaches_inside, patterns, patterns.ends_of(for_files)
    )


def _gitignore_rules(text: str, source: str) -> Iterator[tuple[tuple[Token, ...] | None, _Rule]]:
    for number, raw in _lines(text):
        line = _without_blanks(raw)
        if not line or line.startswith("#"):
            continue
        excludes = not line.startswith("!")
        pattern = line if excludes else line[1:]
        place = f"{source}:{number}" if source in IGNORE_FILES else source
        rule = _Rule(excludes, pattern.endswith("/"), f"{place}: {line}")
        yield git_tokens(pattern.removesuffix("/")), rule


def _without_blanks(line: str) -> str:
    """``line`` without the blanks at its end, except one that a backslash protects."""
    kept = line.rstrip(" ")
    is_escaped = (len(kept) - len(kept.rstrip("\\"))) % 2 == 1
    return f"{kept} " if is_escaped and kept != line else kept


def _dockerignore_rules(text: str, source: str) -> Iterator[tuple[tuple[Token, ...], _Rule]]:
    for number, raw in _lines(text):
        line = raw.strip()
        if not line or raw.startswith("#"):
            continue
        excludes = not line.startswith("!")
        pattern = posixpath.normpath(line.removeprefix("!").strip() or ".").lstrip("/")
        if pattern in ("", "."):  # Docker skips them, for historical reasons
            continue
        try:
            yield docker_tokens(pattern), _Rule(excludes, False, f"{source}:{number}: {line}")
        except BadPattern as error:
            raise BadPattern(error.pattern, line=number) from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        yield number, line.removesuffix("\r")


LONGEST_PATH = 4090
"""Bytes of a path in a project: ``/app/`` and the final NUL fit into Linux's 4096 with it."""

_WORKERS = 2
Found = Callable[[str, Sequence[str]], str | None]
"""The reason to leave a directory out, given its path and the names in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry that cannot enter an image, and what to do about it."""

    path: str
    message: str
    line: int = 0
    """Of an ignore file."""
    is_pointer: bool = False
    """Whether it could enter, and stands for a file that is elsewhere."""


_Hashed = tuple[InputFile | None, Fault | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A directory that did not enter a build context, and the rule that excluded it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The result of a walk. Only links among the ``entries`` have fingerprints yet."""

    entries: list[InputFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def walk(root: Path, *, rules: IgnoreRules, found: Found) -> Tree:
    """Every file and link below ``root`` that the rules include, in no particular order."""
    tree = Tree()
    waiting: list[tuple[str, Verdict]] = [("", INCLUDED)]
    while waiting:
        directory, above = waiting.pop()
        try:
            with os.scandir(root / directory) as scan:
                entries = list(scan)
        except OSError as error:
            tree.faults.append(Fault(directory, _unreadable(error)))
            continue
        verdict = INCLUDED
        if directory:
            reason = found(directory, [entry.name for entry in entries])
            verdict = rules.decide(directory, is_directory=True, parent=above, found=reason)
            if verdict.is_excluded and reason == verdict.reason:
                tree.left_out.append(LeftOut(path=directory, reason=reason))
            if verdict.is_excluded and verdict.is_final:
                continue
        waiting.extend(_take(tree, root, directory, verdict, entries, rules))
    return tree


def _take(
    tree: Tree,
    root: Path,
    directory: str,
    verdict: Verdict,
    entries: Iterable[os.DirEntry[str]],
    rules: IgnoreRules,
) -> Iterator[tuple[str, Verdict]]:
    """Add the files of one directory to ``tree``; returns its directories."""
    for entry in entries:
        path = posixpath.join(directory, entry.name)
        if entry.is_dir(follow_symlinks=False):
            # the ignore rules decide before anything in the directory is read
            inner = rules.decide(path, is_directory=True, parent=verdict)
            if not (inner.is_excluded and inner.is_final):
                yield path, verdict
        elif not rules.decide(path, is_directory=False, parent=verdict).is_excluded:
            taken = _entry(root, path, entry)
            (tree.faults if isinstance(taken, Fault) else tree.entries).append(taken)  # type: ignore[arg-type]


def _entry(root: Path, path: str, entry: os.DirEntry[str]) -> InputFile | Fault:
    if fault := _name_fault(path):
        return fault
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(entry.path)  # noqa: PTH115 - as written, not as a path
            return _link_fault(root, path, target) or InputFile(path, True, False, target)
    except OSError as error:
        return Fault(path, _unreadable(error))
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "neither a file nor a directory")
        return Fault(path, f"is {kind}, which no image can hold: remove it, or ignore it")
    return InputFile(path, False, bool(mode & stat.S_IXUSR), "")


def _name_fault(path: str) -> Fault | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return Fault(shown, "its name is not UTF-8: rename it, or ignore it")
    if not unicodedata.is_normalized("NFC", path):
        return Fault(path, "its name is not in Unicode's composed form (NFC): rename it")
    if len(encoded) > LONGEST_PATH:
        shown = f"{path[:60]}…{path[-30:]}"
        return Fault(shown, f"its path has {len(encoded)} bytes, more than {LONGEST_PATH}")
    return None


def _link_fault(root: Path, path: str, target: str) -> Fault | None:
    try:
        target.encode()
    except UnicodeEncodeError:
        return Fault(path, "is a link whose target is not UTF-8: remove it, or ignore it")
    remedy = "copy the file into the project, or ignore the link"
    if posixpath.isabs(target):
        return Fault(path, f"links to {target}, which is another place in the image: {remedy}")
    if pointer := link_fault(target):
        return Fault(path, f"{pointer}, or ignore it")
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    real_root = os.path.realpath(root)
    real = os.path.realpath(root / path)
    if inside.split("/")[0] == ".." or os.path.commonpath([real_root, real]) != real_root:
        return Fault(path, f"links to {target}, which leaves the project: {remedy}")
    return None


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "vanished while the project was read: run it again"
    if isinstance(error, CannotRead):
        return f"{error.reason}, or ignore it"
    return f"cannot be read ({error.strerror}): make it readable, or ignore it"


def with_fingerprints(
    root: Path, entries: Sequence[InputFile], *, batch: int = 32
) -> tuple[list[InputFile], list[Fault]]:
    """``entries`` with the sha256 of each file, and faults for pointers and those that cannot be read.

    The entries of a ``batch`` are read in order, several batches at once.
    """
    batches = [entries[start : start + batch] for start in range(0, len(entries), batch)]

    def hashed(some: Sequence[InputFile]) -> list[_Hashed]:
        return [_hashed(root, entry) for entry in some]

    if len(batches) < 2:
        found = [*map(hashed, batches)]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_WORKERS) as pool:
            found = [*pool.map(hashed, batches)]
    files = [file for some in found for file, _ in some if file]
    return files, [fault for some in found for _, fault in some if fault]


def _hashed(root: Path, entry: InputFile) -> _Hashed:
    if entry.is_link:
        return entry, None
    try:
        fingerprint, pointer = fingerprint_and_fault(root / entry.path, inside=(root,))
    except OSError as error:
        return None, Fault(entry.path, _unreadable(error))
    fault = Fault(entry.path, f"{pointer}, or ignore it", is_pointer=True) if pointer else None
    return InputFile(entry.path, False, entry.is_executable, fingerprint), fault
