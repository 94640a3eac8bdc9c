"""Which files of a project the dependency steps of an image build read.

Only those are copied before the step runs, so that a change of other files does not repeat it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from itertools import filterfalse
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gitops_ml.errors import Problem
from gitops_ml.system.clean_text import without_credentials
from gitops_ml.system.secret_scan import has_secret_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

DEPENDENCY_FILES = {
    "pip": "requirements.txt",
    "conda": "conda-packages.txt",
    "shell": "dependencies.sh",
}
"""Cortex's names: a project has these files or has not. A file of another name was asked for."""

EVERYTHING = "."
"""Stands for the whole project directory."""

IN_A_LAYER = (
    "a password or a token stands here, and everyone who may pull the image could read it: put the "
    "address with it into pip.conf or PIP_INDEX_URL, or what opens the server into ~/.netrc where "
    "images are built without Docker; none of them enters a layer"
)

_NESTED = ("-r", "--requirement", "-c", "--constraint")
_LOCAL = ("-e", "--editable", "-f", "--find-links")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")
_SAFE = re.compile(r"[\w./@+ -]*")
_DIRECT = re.compile(r"[\w.-]+(?:\[[^\]]*\])?\s*@\s*(?=\S)")
"""In front of the address of a requirement (PEP 508)."""
_OUTSIDE = re.compile(r"/|~|\.\.(?:[/\\]|$)|[A-Za-z]:|\\")
"""What leads out of the project: from the root, a home, up, a drive or a share."""
_BLANKS = re.compile(r"[^\S\t\n\r ]")
"""What some readers of requirements take for a blank or the end of a line, and others do not."""
_SHELL_WORD_ENDS = re.compile(r"[\s;|&<>()'\"=`]+")


def pip_files(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """What `pip install -r name` reads: requirement files, wheels, directories, or `EVERYTHING`.

    ``read`` gives the text of a file of the project, or ``None`` where it has none. Paths that
    leave the project (``../x``, ``/x``, ``~/x``) are in the answer as they are, for the caller to
    refuse; see `leaving_problems`.
    """
    files = _requirement_files(name, read=read)
    found = dict.fromkeys(files)
    for file in filterfalse(leaves_project, files):
        for _, option, target in _references(read(file) or ""):
            if option not in _NESTED:
                found[_normal(target)] = None
    return _simplified(found)


def leaves_project(path: str) -> bool:
    """Whether a path of a requirements file is none below the project.

    >>> [leaves_project(path) for path in ("lib/x.whl", "../x", "/etc/x", "~/x", "C:/x", "${HOME}/x")]
    [False, True, True, True, True, True]
    """
    return _OUTSIDE.match(path) is not None or "${" in path or "\0" in path


def leaving_problems(
    names: Iterable[str], *, read: Callable[[str], str | None], place: Callable[[str], str]
) -> Iterator[Problem]:
    """Each line of the requirement files ``names``, and of what they include, that leaves the project.

    ``place`` is how a file is named to people.
    """
    for file in _own_files(names, read=read):
        for number, option, target in _references(read(file) or ""):
            path = _joined(file, target) if option in _NESTED else _normal(target)
            if leaves_project(path):
                message = f"names {path[:200]}, which leaves the project: copy it into it"
                yield Problem(place(file), number, 1, "", message, rule="context")


def needs_pip(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """The requirements below file ``name`` that only pip can turn into something installed.

    They are source code (``./lib``, an archive) or stand at an address of their own, where no
    index vouches for them; wheels of the project are neither.
    """
    found: dict[str, None] = {}
    for file in _own_files([name], read=read):
        for _, line in _lines(read(file) or ""):
            words = _words(line)
            option, equals, value = words[0].partition("=") if words else ("", "", "")
            is_editable = option in ("-e", "--editable")
            if not words or (option.startswith("-") and not is_editable):
                continue
            named = value if equals else " ".join(words[1:2])
            target = named if is_editable else _address(words)
            is_wheel = target.endswith(".whl") and not is_editable
            if "://" in target or (_local_path(target, is_option=is_editable) and not is_wheel):
                found[without_credentials(target.partition("#")[0])] = None
    return tuple(found)


def index_options(text: str) -> tuple[tuple[str, str], ...]:
    """The options of a requirements file about where packages come from, by their long names."""
    found = []
    for _, line in _lines(text):
        words = _words(line)
        option, equals, value = words[0].partition("=") if words else ("", "", "")
        option = {"-i": "--index-url"}.get(option, option)
        if option in ("--index-url", "--extra-index-url", "--trusted-host"):
            found.append((option, value if equals else " ".join(words[1:2])))
    return tuple(found)


def requirement_lines(text: str) -> tuple[str, ...]:
    """The lines of a requirements file as pip reads them: continued ones joined, without comments."""
    lines = (re.sub(r"(?:^|(?<=\s))#.*", "", line).strip() for _, line in _lines(text))
    return tuple(line for line in lines if line)


def secret_problems(
    names: Iterable[str], *, read: Callable[[str], str | None], place: Callable[[str], str]
) -> Iterator[Problem]:
    """Each line with a password or a token in the dependency files ``names`` and what they include.

    ``place`` is how a file is named to people.
    """
    for file in _own_files(names, read=read):
        text = read(file) or ""
        if not has_secret_shape(text):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if has_secret_shape(line):
                yield Problem(place(file), number, 1, "", IN_A_LAYER, rule="secret")


def _own_files(names: Iterable[str], *, read: Callable[[str], str | None]) -> Iterator[str]:
    """``names`` and what they include, each once, but for what leaves the project."""
    files = (file for name in names for file in _requirement_files(name, read=read))
    return (file for file in dict.fromkeys(files) if not leaves_project(file))


def _requirement_files(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """``name`` and what it includes, however deep."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        if leaves_project(file):
            continue
        for _, option, target in _references(read(file) or ""):
            if option in _NESTED:
                waiting.append(_joined(file, target))
    return tuple(found)


def shell_files(script: str, *, paths: Collection[str]) -> tuple[str, ...]:
    """The files and directories among ``paths`` that a shell script names.

    A script that installs the project itself, or names files by a pattern, gets `EVERYTHING`.
    """
    directories = {parent for path in paths for parent in _parents(path)}
    found: dict[str, None] = {}
    for line in script.splitlines():
        words = _SHELL_WORD_ENDS.split("" if line.lstrip().startswith("#") else line)
        for at, word in enumerate(words):
            path = posixpath.normpath(word.removeprefix("/app/") or EVERYTHING) if word else ""
            if path == EVERYTHING and "pip" in words[:at]:
                found[EVERYTHING] = None
            elif path in directories or path in paths:
                found[path] = None
            elif re.search(r"[*?\[]", path) and not path.startswith("/"):
                found[EVERYTHING] = None
    return _simplified(found)


def _references(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, option (or nothing) and local path of each line of a requirements file that has one."""
    for number, line in _lines(text):
        words = _words(line)
        if not words:
            continue
        option, equals, value = words[0].partition("=")
        if option in _NESTED + _LOCAL:
            target = value if equals else " ".join(words[1:2])
        elif words[0].startswith("-"):
            continue
        else:
            option, target = "", _address(words)
        if path := _local_path(target, is_option=bool(option)):
            yield number, option, path


def _address(words: list[str]) -> str:
    """What a requirement names: its address (``name @ address``), a path or a distribution."""
    line = " ".join(words)
    direct = _DIRECT.match(line)
    return line[direct.end() :].split()[0] if direct else words[0]


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


def _words(line: str) -> list[str]:
    line = _BLANKS.sub(" ", line)
    line = re.sub(r"(?:^|(?<=\s))#.*", "", line)
    line = re.sub(r"^\s*(-[rcefi])(?=[^\s-])", r"\1 ", line)
    # a marker belongs to a requirement; a path may have a semicolon
    requirement = line if line.lstrip().startswith("-") else line.split(";")[0]
    lexer = shlex.shlex(requirement, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # C:\\x is a path
    try:
        return list(lexer)
    except ValueError:
        return requirement.split()


def _local_path(target: str, *, is_option: bool) -> str:
    """The path in a requirement, or nothing where it names a distribution or a server."""
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
    """``path``, as ``file`` names it, from the project."""
    if leaves_project(path) and not path.startswith("../"):
        return path
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), path))


def _simplified(found: Collection[str]) -> tuple[str, ...]:
    """Sorted; everything where that is named, or where a name is more than COPY can take."""
    names = sorted(found)
    if EVERYTHING in names or not all(map(_SAFE.fullmatch, names)):
        return (EVERYTHING, *filter(leaves_project, names))
    return tuple(n for n in names if not any(parent in found for parent in _parents(n)))


def _parents(path: str) -> Iterator[str]:
    while (parent := posixpath.dirname(path)) not in ("", path):
        yield parent
        path = parent
