"""Which files of a project the dependency steps of an image build read.

Only those are copied before the step runs, so that a change of other files does not repeat it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from gitops_ml.core.clean_text import without_credentials
from gitops_ml.core.secret_signs import has_secret_shape
from gitops_ml.errors import Problem

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
_SHELL_WORD_ENDS = re.compile(r"[\s;|&<>()'\"=`]+")


def pip_files(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """What `pip install -r name` reads: requirement files, wheels, directories, or `EVERYTHING`.

    ``read`` gives the text of a file of the project, or ``None`` where it has none. Paths that
    leave the project are in the answer as they are (``../x``), for the caller to refuse.
    """
    files = _requirement_files(name, read=read)
    found = dict.fromkeys(files)
    for file in files:
        for option, target in _references(read(file) or ""):
            if option not in _NESTED:
                found[posixpath.normpath(target)] = None
    return _simplified(found)


def needs_pip(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """The requirements below file ``name`` that only pip can turn into something installed.

    They are source code (``./lib``, an archive) or stand at an address of their own, where no
    index vouches for them; wheels of the project are neither.
    """
    found: dict[str, None] = {}
    for file in _requirement_files(name, read=read):
        for line in _lines(read(file) or ""):
            words = _words(line)
            option, equals, value = words[0].partition("=") if words else ("", "", "")
            is_editable = option in ("-e", "--editable")
            if not words or (option.startswith("-") and not is_editable):
                continue
            if is_editable:
                target = value if equals else " ".join(words[1:2])
            else:
                target = words[2] if words[1:2] == ["@"] else words[0]
            is_wheel = target.endswith(".whl") and not is_editable
            if "://" in target or (_local_path(target, is_option=is_editable) and not is_wheel):
                found[without_credentials(target.partition("#")[0])] = None
    return tuple(found)


def index_options(text: str) -> tuple[tuple[str, str], ...]:
    """The options of a requirements file about where packages come from, by their long names."""
    found = []
    for line in _lines(text):
        words = _words(line)
        option, equals, value = words[0].partition("=") if words else ("", "", "")
        option = {"-i": "--index-url"}.get(option, option)
        if option in ("--index-url", "--extra-index-url", "--trusted-host"):
            found.append((option, value if equals else " ".join(words[1:2])))
    return tuple(found)


def requirement_lines(text: str) -> tuple[str, ...]:
    """The lines of a requirements file as pip reads them: continued ones joined, without comments."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in _lines(text))
    return tuple(line for line in lines if line)


def secret_problems(
    names: Iterable[str], *, read: Callable[[str], str | None], place: Callable[[str], str]
) -> Iterator[Problem]:
    """Each line with a password or a token in the dependency files ``names`` and what they include.

    ``place`` is how a file is named to people.
    """
    files = (file for name in names for file in _requirement_files(name, read=read))
    for file in dict.fromkeys(files):
        text = read(file) or ""
        if not has_secret_shape(text):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if has_secret_shape(line):
                yield Problem(place(file), number, 1, "", IN_A_LAYER, rule="secret")


def _requirement_files(name: str, *, read: Callable[[str], str | None]) -> tuple[str, ...]:
    """``name`` and what it includes, however deep."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found[file] = None
        for option, target in _references(read(file) or ""):
            if option in _NESTED:
                waiting.append(posixpath.normpath(posixpath.join(posixpath.dirname(file), target)))
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


def _references(text: str) -> Iterator[tuple[str, str]]:
    """Option (or nothing) and local path of each line of a requirements file that has one."""
    for line in _lines(text):
        words = _words(line)
        if not words:
            continue
        option, equals, value = words[0].partition("=")
        if option in _NESTED + _LOCAL:
            target = value if equals else " ".join(words[1:2])
        elif words[0].startswith("-"):
            continue
        else:
            option, target = "", words[2] if words[1:2] == ["@"] else words[0]
        if path := _local_path(target, is_option=bool(option)):
            yield option, path


def _lines(text: str) -> list[str]:
    return re.sub(r"\\\r?\n", "", text).splitlines()


def _words(line: str) -> list[str]:
    line = re.sub(r"(^|\s)#.*", "", line)
    line = re.sub(r"^\s*(-[rcefi])(?=[^\s-])", r"\1 ", line)
    try:
        return shlex.split(line.split(";")[0])
    except ValueError:
        return line.split()


def _local_path(target: str, *, is_option: bool) -> str:
    """The path in a requirement, or nothing where it names a distribution or a server."""
    path = re.sub(r"\[[\w, .-]*\]$", "", target)
    if path.startswith("file:") and not path.startswith("file://"):
        path = path.removeprefix("file:")
    if "://" in path or not path or posixpath.isabs(path):
        return ""
    looks_local = path.startswith(".") or "/" in path or path.endswith(_ARCHIVES)
    return path if is_option or looks_local else ""


def _simplified(found: Collection[str]) -> tuple[str, ...]:
    """Sorted; everything where that is named, or where a name is more than COPY can take."""
    names = sorted(found)
    if EVERYTHING in names or not all(map(_SAFE.fullmatch, names)):
        return (EVERYTHING, *(name for name in names if name.startswith("../")))
    return tuple(n for n in names if not any(parent in found for parent in _parents(n)))


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path
