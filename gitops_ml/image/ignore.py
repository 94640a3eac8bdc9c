"""Ignore rules of a build context: the defaults, then the project's ignore files.

Each file keeps its own syntax. ``.gitopsmlignore`` and ``.cortexignore`` are gitignore: the last
pattern that matches an entry decides, and nothing below an excluded directory comes back.
``.dockerignore`` is anchored at the root, matches through parent directories, and can bring back a
file of an excluded directory. Of several files the last one that matches an entry decides, so that
``!data/`` in ``.gitopsmlignore`` overrides the defaults and ``.dockerignore``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from gitops_ml.image.wildcards import BadPattern, Patterns, Token, docker_tokens, git_tokens

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
    """The defaults and then ``files``: name and text of each ignore file that the project has.

    Raises:
        BadPattern: Docker would refuse a line of ``.dockerignore``.
    """
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
    """The rules of a text in Docker's syntax.

    Raises:
        BadPattern: Docker would refuse a line.
    """
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
