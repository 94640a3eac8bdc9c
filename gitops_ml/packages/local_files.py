"""Find the files of a project that the dependency steps of an image build read.

Only those are copied before the step runs, so that a change of other files does not repeat it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, takewhile
from urllib.parse import unquote

from gitops_ml.errors import Problem
from gitops_ml.packages.installed import is_malformed
from gitops_ml.system.clean_text import without_credentials
from gitops_ml.system.secret_scan import has_secret_shape

DEPENDENCY_FILES = {
    "pip": "requirements.txt",
    "conda": "conda-packages.txt",
    "shell": "dependencies.sh",
}
"""Cortex's names, which are optional files; a manifest may name others."""

EVERYTHING = "."
"""The whole project directory."""

IN_A_LAYER = (
    "this line contains a password or a token, and everyone who may pull the image could read it: "
    "put the address with it into pip.conf or PIP_INDEX_URL, or the login into ~/.netrc where "
    "images are built without Docker; none of them enters a layer"
)

_NESTED = ("-r", "--requirement", "-c", "--constraint")
_LINKS = ("-f", "--find-links")
_LOCAL = ("-e", "--editable", *_LINKS)
_SHORT_OPTIONS = ("-r", "-c", "-e", "-f", "-i")
_OPTIONS = frozenset(
    {
        *_NESTED, *_LOCAL, "-i", "--index-url", "--extra-index-url", "--no-index", "--no-binary",
        "--only-binary", "--prefer-binary", "--require-hashes", "--pre", "--trusted-host", "--use-feature",
        "--pypi-url", "--global-option", "--config-settings", "--config-setting", "--hash",
    }
)  # fmt: skip
_ONE_EQUALS_SIGN = re.compile(r"([\w.-]+)\s*=\s*(\d[\w.]*)")
"""``numpy=1.26``, as conda writes it."""
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")
_SAFE = re.compile(r"[\w./@+ -]*")
_DIRECT = re.compile(r"[\w.-]+(?:\[[^\]]*\])?\s*@\s*(?=\S)")
"""In front of the address of a requirement (PEP 508)."""
_OUTSIDE = re.compile(r"/|~|\.\.(?:[/\\]|$)|[A-Za-z]:|\\")
"""The start of a path that leaves the project: root, home, parent, drive or share."""
_BLANKS = re.compile(r"[^\S\t\n\r ]")
"""Characters that some readers of requirements treat as a blank or a line end, and others do not."""
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_HASH_OR_COMMENT = re.compile(rf"--hash=\S+|{_COMMENT.pattern}")
_GLUED_OPTION = re.compile(r"^\s*(-[rcefi])(?=[^\s-])")
_FIELD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_SHELL_WORD_ENDS = re.compile(r"[\s;|&<>()'\"=`]+")


_LONGEST_LINE = 1 << 16
"""Characters; the hashes of the largest packages take a quarter of it."""
_MOST_FILES = 100
_MOST = {
    "files": _MOST_FILES,
    "characters": 2 << 20,
    "lines": 50_000,
    "requirements": 3_000,
    "characters besides hashes and comments": 1 << 17,
}
_DEEPEST = 20
"""Brackets of a marker inside of each other."""


class TooLarge(ValueError):
    """A requirements file beyond the limits; the text is the reason and the remedy."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        self.file = file
        self.line = line
        self.reason = reason
        super().__init__(f"{file}:{line} {reason}" if line else f"{file} {reason}")


class RequirementLimits:
    """Limits for all requirement files of a project together, far above what projects need.

    pip has no such limits; but these files may come from a pull request of anyone.
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_MOST, 0)

    def add(self, file: str, text: str) -> None:
        """Count one more file.

        Raises:
            TooLarge: a limit is passed, in this file or in all of them together.
        """
        for what, count in _counted(text):
            self._counts[what] += count
            if self._counts[what] > _MOST[what]:
                subject = (
                    "has"
                    if self._counts["files"] == 1
                    else "and the requirement files before it have"
                )
                sizes = f"{self._counts[what]:,} {what}; at most {_MOST[what]:,}"
                raise TooLarge(file, 0, f"{subject} {sizes} are read: remove some")
        for number, line in _lines(text):
            if len(line) > _LONGEST_LINE:
                reason = (
                    f"has {len(line):,} characters; at most {_LONGEST_LINE:,} are read: split it"
                )
                raise TooLarge(file, number, reason)
            if line.count("(") > _DEEPEST < _depth(line):
                reason = f"has more than {_DEEPEST} brackets inside of each other: simplify it"
                raise TooLarge(file, number, reason)


def _counted(text: str) -> Iterator[tuple[str, int]]:
    """What is limited, the cheapest first."""
    yield "files", 1
    yield "characters", len(text)
    lines = text.splitlines()
    yield "lines", len(lines)
    yield "requirements", sum(map(_begins_requirement, ["", *lines], lines))
    parsed = (len(_HASH_OR_COMMENT.sub("", line)) for line in lines)
    yield "characters besides hashes and comments", sum(parsed)


def _depth(line: str) -> int:
    return max(accumulate({"(": 1, ")": -1}.get(character, 0) for character in line))


def _begins_requirement(before: str, line: str) -> bool:
    line = line.lstrip()
    return bool(line) and not line.startswith("#") and not before.endswith("\\")


def pip_files(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """What `pip install -r name` reads: requirement files, wheels, directories, or `EVERYTHING`.

    ``read`` returns the text of a file of the project, or ``None`` where it has none. Paths that
    leave the project (``../x``, ``/x``, ``~/x``) are part of the result as they are, for the caller
    to refuse: `requirement_problems` reports them.
    """
    files, _ = _requirement_files([name], read=read)
    found = dict.fromkeys(files)
    for file in _inside(files):
        for _, option, target in _references(read(file) or ""):
            if option in _LINKS:
                found.update(dict.fromkeys(_link_folders(file, target)))
            elif option not in _NESTED:
                found[_normal(target)] = None
    return _simplified(found)


def _link_folders(file: str, target: str) -> tuple[str, ...]:
    """Where pip looks for the folder of wheels: beside the file, else in the project.

    One that leaves the project is among them only where both do.
    """
    places = dict.fromkeys((_joined(file, target), _normal(target)))
    return tuple(each for each in places if not leaves_project(each)) or tuple(places)[:1]


def leaves_project(path: str) -> bool:
    """Whether a path of a requirements file leads out of the project.

    >>> [leaves_project(path) for path in ("lib/x.whl", "../x", "/etc/x", "~/x", "C:/x", "${HOME}/x")]
    [False, True, True, True, True, True]
    """
    return _OUTSIDE.match(path) is not None or "${" in path or "\0" in path


def requirement_problems(
    names: Iterable[str], *, read: Callable[[str], str | None], place: Callable[[str], str]
) -> Iterator[Problem]:
    """Each line of the requirement files ``names`` and their includes that leaves the project or is wrong.

    Files beyond the limits are a problem, too. ``place`` makes the name of a file for messages.
    """
    files, excess = _requirement_files(names, read=read)
    for file in _inside(files):
        text = read(file) or ""
        for number, option, target in _references(text):
            path = _joined(file, target) if option in _NESTED else _normal(target)
            path = _link_folders(file, target)[0] if option in _LINKS else path
            if leaves_project(path):
                message = f"names {path[:200]}, which leaves the project: copy it into it"
                yield Problem(place(file), number, 1, "", message, rule="context")
            elif option in _NESTED and read(path) is None:
                message = f"includes {path[:200]}, which does not exist"
                yield Problem(place(file), number, 1, "", message, rule="context")
        for number, message in _malformed(text) if excess is None else ():
            yield Problem(place(file), number, 1, "", message, rule="context")
    if excess is not None:
        yield Problem(place(excess.file), excess.line, 1, "", excess.reason, rule="context")


@lru_cache(maxsize=_MOST_FILES)
def _malformed(text: str) -> tuple[tuple[int, str], ...]:
    """Line number and message of each line that pip could not read."""
    found = []
    for number, line in _lines(text):
        fields = _split(line)
        if not fields or _local_path(_address(fields), is_option=False) or "://" in line:
            continue
        line = _COMMENT.sub("", _BLANKS.sub(" ", line)).strip()
        option = re.match(r"--?[\w-]+", line)
        if option and option[0] not in _OPTIONS and not line.startswith(_SHORT_OPTIONS):
            found.append((number, f"{option[0][:80]} is not an option of a requirements file"))
        elif not option and is_malformed(line):
            shown = "this line" if has_secret_shape(line) else repr(line[:80])
            hint = _ONE_EQUALS_SIGN.match(line)
            remedy = (
                f"did you mean {hint[1]}=={hint[2]}?"
                if hint
                else "write a name and a version, such as numpy==2.1.0"
            )
            found.append((number, f"{shown} is not a requirement that pip can read; {remedy}"))
    return tuple(found)


def needs_pip(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """The requirements below file ``name`` that only pip can install.

    They are source code (``./lib``, an archive, a repository); wheels are not, in the project or on a server.
    """
    found: dict[str, None] = {}
    for file in _inside(_requirement_files([name], read=read)[0]):
        for _, fields in _fields(read(file) or ""):
            option, named = _option(fields)
            is_editable = option in ("-e", "--editable")
            if option.startswith("-") and not is_editable:
                continue
            target = named if is_editable else _address(fields)
            is_wheel = target.partition("#")[0].endswith(".whl") and not is_editable
            is_address = "://" in target and not (
                is_wheel and target.startswith(("http:", "https:"))
            )
            if is_address or (_local_path(target, is_option=is_editable) and not is_wheel):
                found[without_credentials(target.partition("#")[0])] = None
    return tuple(found)


def link_folders(text: str) -> tuple[str, ...]:
    """The folders and addresses with wheels that a requirements file names."""
    options = (_option(fields) for _, fields in _fields(text))
    return tuple(value for option, value in options if option in _LINKS)


def index_options(text: str) -> tuple[tuple[str, str], ...]:
    """The options of a requirements file that name package sources, by their long names."""
    named = ("--index-url", "--extra-index-url", "--trusted-host")
    options = (_option(fields) for _, fields in _fields(text))
    longer = (({"-i": "--index-url"}.get(option, option), value) for option, value in options)
    return tuple((option, value) for option, value in longer if option in named)


def requirement_lines(text: str) -> tuple[str, ...]:
    """The lines of a requirements file as pip reads them: continued ones joined, without comments."""
    lines = (_COMMENT.sub("", line).strip() for _, line in _lines(text))
    return tuple(filter(None, lines))


def secret_problems(
    names: Iterable[str], *, read: Callable[[str], str | None], place: Callable[[str], str]
) -> Iterator[Problem]:
    """Each line with a password or a token in the dependency files ``names`` and what they include.

    ``place`` makes the name of a file for messages.
    """
    names = tuple(names)
    files, _ = _requirement_files(names, read=read)
    for file in _inside(dict.fromkeys((*files, *names))):
        # UTF-16 without its mark is not readable for pip, but for everyone who pulls the image
        text = (read(file) or "").replace("\0", "")
        if not has_secret_shape(text):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if has_secret_shape(line):
                yield Problem(place(file), number, 1, "", IN_A_LAYER, rule="secret")


def _inside(files: Iterable[str]) -> Iterator[str]:
    return (file for file in files if not leaves_project(file))


def _requirement_files(
    names: Iterable[str], *, read: Callable[[str], str | None]
) -> tuple[tuple[str, ...], TooLarge | None]:
    """``names`` and what they include, however deep, up to the file that passes a limit."""
    found: dict[str, None] = {}
    limits = RequirementLimits()
    for name in names:
        waiting = [name]
        while waiting:
            file = waiting.pop()
            if file in found:
                continue
            if not leaves_project(file):
                text = read(file) or ""
                try:
                    limits.add(file, text)
                except TooLarge as error:
                    return tuple(found), error
                references = _references(text)
                waiting += [
                    _joined(file, path) for _, option, path in references if option in _NESTED
                ]
            found[file] = None
    return tuple(found), None


def shell_files(script: str, *, paths: Collection[str]) -> tuple[str, ...]:
    """The files and directories among ``paths`` that a shell script names.

    A script that installs the project itself, or names files by a pattern, gets `EVERYTHING`.
    """
    directories = {parent for path in paths for parent in _parents(path)}
    found: dict[str, None] = {}
    for line in script.splitlines():
        fields = _SHELL_WORD_ENDS.split("" if line.lstrip().startswith("#") else line)
        for at, field in enumerate(fields):
            path = posixpath.normpath(field.removeprefix("/app/") or EVERYTHING) if field else ""
            if path == EVERYTHING and "pip" in fields[:at]:
                found[EVERYTHING] = None
            elif path in directories or path in paths:
                found[path] = None
            elif re.search(r"[*?\[]", path) and not path.startswith("/"):
                found[EVERYTHING] = None
    return _simplified(found)


def _references(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, option (may be empty) and path of each line that names a local path."""
    for number, fields in _fields(text):
        option, target = _option(fields)
        if option not in _NESTED + _LOCAL:
            option, target = "", "" if option.startswith("-") else _address(fields)
        if path := _local_path(target, is_option=bool(option)):
            yield number, option, path


def _option(fields: list[str]) -> tuple[str, str]:
    """The option of a line and its value; of a requirement, its beginning and what is behind it."""
    option, equals, value = fields[0].partition("=")
    return option, value if equals else " ".join(fields[1:2])


def _address(fields: list[str]) -> str:
    """The target of a requirement: its address (``name @ address``), a path or a distribution."""
    line = " ".join(fields)
    direct = _DIRECT.match(line)
    if direct:
        return line[direct.end() :].split()[0]
    # pip takes all before the first option for one path
    words = list(takewhile(lambda field: not field.startswith("-"), fields))
    is_path = len(words) > 1 and words[-1].endswith(_ARCHIVES) and "/" in words[0]
    return " ".join(words) if is_path else fields[0]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number; lines that a backslash continues are one."""
    start, joined = 1, ""
    lines = re.split(r"\r\n|\r|\n", text)
    for number, line in enumerate(lines, start=1):
        if line.endswith("\\") and number < len(lines):
            joined += line[:-1]
            continue
        yield start, joined + line
        start, joined = number + 1, ""


@lru_cache(maxsize=_MOST_FILES)
def _fields(text: str) -> tuple[tuple[int, list[str]], ...]:
    """The fields of each line of a requirements file that has some, with its number."""
    return tuple((number, fields) for number, line in _lines(text) if (fields := _split(line)))


def _split(line: str) -> list[str]:
    """The fields of a line as a shell splits them, but that a backslash is part of a path."""
    line = _COMMENT.sub("", _BLANKS.sub(" ", line))
    line = _GLUED_OPTION.sub(r"\1 ", line)
    # a marker belongs to a requirement; a path may have a semicolon
    requirement = line if line.lstrip().startswith("-") else line.partition(";")[0]
    rest = _QUOTED.sub("", requirement)
    if rest == requirement or "'" in rest or '"' in rest:  # no quotes, or an open one
        return requirement.split()
    return [
        _QUOTED.sub(r"\1\2", field) if "'" in field or '"' in field else field
        for field in _FIELD.findall(requirement)
    ]


def _local_path(target: str, *, is_option: bool) -> str:
    """The path in a requirement; empty where it names a distribution or a server."""
    path = re.sub(r"\[[\w, .-]*\]$", "", target)
    if path[:5].lower() == "file:":
        path = unquote(path[5:])
        if path.startswith("//"):
            path = f"/{path.lstrip('/')}"
        return path or "/"
    if not path or "://" in path:
        return ""
    looks_local = path.startswith(".") or "/" in path or path.endswith(_ARCHIVES)
    return path if is_option or looks_local or _OUTSIDE.match(path) else ""


def _normal(path: str) -> str:
    return path if leaves_project(path) else posixpath.normpath(path)


def _joined(file: str, path: str) -> str:
    """``path``, which is relative to ``file``, relative to the project."""
    if leaves_project(path) and not path.startswith("../"):
        return path
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), path))


def _simplified(found: Collection[str]) -> tuple[str, ...]:
    """The sorted names; `EVERYTHING` if that is named, or if COPY could not handle a name."""
    names = sorted(found)
    if EVERYTHING in names or not all(map(_SAFE.fullmatch, names)):
        return (EVERYTHING, *filter(leaves_project, names))
    return tuple(n for n in names if not any(parent in found for parent in _parents(n)))


def _parents(path: str) -> Iterator[str]:
    while (parent := posixpath.dirname(path)) not in ("", path):
        yield parent
        path = parent
