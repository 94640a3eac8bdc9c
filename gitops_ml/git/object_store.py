"""Parse git's output (trees, blobs, commits, logs), and write the input of ``git fast-import``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from gitops_ml.git.commits import Change, Difference, LoggedCommit


class TreeEntry(NamedTuple):
    """One line of ``git ls-tree -r``."""

    mode: str
    kind: str
    id: str
    path: str


def parse_tree(listing: bytes) -> tuple[TreeEntry, ...]:
    """The entries in the output of ``git ls-tree -r -z``."""
    entries = []
    for line in listing.decode("utf-8", "surrogateescape").split("\0"):
        if line:
            facts, _, path = line.partition("\t")
            mode, kind, id = facts.split(" ")
            entries.append(TreeEntry(mode, kind, id, path))
    return tuple(entries)


def parse_blobs(output: bytes) -> dict[str, bytes]:
    """Object id to content, from ``git cat-file --batch``; missing ids are left out."""
    found = {}
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        facts = output[at:end].decode("ascii").split(" ")
        at = end + 1
        if len(facts) == 3:
            size = int(facts[2])
            found[facts[0]] = output[at : at + size]
            at += size + 1
    return found


def parse_log(output: bytes) -> dict[str, dict[str, str | None]]:
    """Commit id to its changed files, from ``git log -z --raw --no-abbrev --format=%H``."""
    found: dict[str, dict[str, str | None]] = {}
    files: dict[str, str | None] = {}
    tokens = iter(output.decode("utf-8", "surrogateescape").split("\0"))
    for token in tokens:
        entry = token.strip("\n")
        if entry.startswith(":"):
            id = entry.split(" ")[3]
            files[next(tokens)] = id if id.strip("0") else None
        elif entry:
            files = found.setdefault(entry, {})
    return found


def parse_commit(id: str, content: bytes, files: Mapping[str, str | None]) -> LoggedCommit:
    head, _, body = content.partition(b"\n\n")
    encoding = _header(head, b"encoding") or b"utf-8"
    try:
        message = body.decode(encoding.decode("ascii", "replace"), "replace")
    except LookupError:
        message = body.decode("utf-8", "replace")
    name, address, _ = _signature(_header(head, b"author"))
    _, _, when = _signature(_header(head, b"committer"))
    return LoggedCommit(id=id, author=(name, address), when=when, message=message, files=files)


def _header(head: bytes, name: bytes) -> bytes:
    match = re.search(rb"^" + name + rb" (.*)$", head, re.M)
    return match[1] if match else b""


# Git allows no "<" in a name; excluding it keeps the search linear in commits of other tools.
_SIGNATURE = re.compile(r"([^<]*?) ?<([^>]*)> (-?\d{1,20}) ([-+])(\d\d)(\d\d)$")


def _signature(text: bytes) -> tuple[str, str, str]:
    """Name, address and ISO 8601 time of a line ``Ann <ann@example.org> 1700000000 +0100``."""
    match = _SIGNATURE.match(text.decode("utf-8", "replace"))
    if not match:
        return "", "", ""
    name, address, seconds, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    try:
        zone = timezone(offset)
        when = datetime.fromtimestamp(int(seconds), zone).isoformat()
    except (ValueError, OverflowError, OSError):
        when = ""
    return name, address, when


def parse_difference(listing: bytes) -> Difference:
    """Path to blob ids before and after, from ``git diff-tree -r -z``."""
    parts = listing.decode("utf-8", "surrogateescape").split("\0")
    found = {}
    for facts, path in zip(parts[::2], parts[1::2], strict=False):
        _, _, old, new, _ = facts.split(" ")
        found[path] = (old if old.strip("0") else None, new if new.strip("0") else None)
    return found


def commit_stream(
    changes: Iterable[Change],
    *,
    parent: str | None,
    ref: str,
    message: str,
    author: tuple[str, str],
    seconds: int,
) -> bytes:
    """The input of ``git fast-import`` for one commit, whose id it prints.

    Raises:
        ValueError: a path leaves the repository, or git cannot store it.
    """
    who = f"{_clean(author[0])} <{_clean(author[1])}> {seconds} +0000".lstrip()
    text = (message.rstrip("\n") + "\n").encode()
    out = [
        f"feature done\ncommit {ref}\nmark :1\nauthor {who}\ncommitter {who}\n".encode(),
        b"data %d\n%s\n" % (len(text), text),
        f"from {parent}\n".encode() if parent else b"",
        # Deletions first: a folder may become a file.
        *(_line(change) for change in sorted(changes, key=lambda c: (c.after is not None, c.path))),
        b"\nget-mark :1\ndone\n",
    ]
    return b"".join(out)


def _line(change: Change) -> bytes:
    path = _quoted(_checked(change.path))
    if change.after is None:
        return b"D %s\n" % path
    return b"M %s inline %s\ndata %d\n%s\n" % (
        change.mode.encode(), path, len(change.after), change.after,
    )  # fmt: skip


def _checked(path: str) -> str:
    parts = path.split("/")
    if "\0" in path or any(p in {"", ".", ".."} or p.lower() == ".git" for p in parts):
        raise ValueError(f"{path!r} is not a path inside a git repository")
    return path


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return b'"' + escaped.encode("utf-8", "surrogateescape") + b'"'


def _clean(text: str) -> str:
    """A name or address as git stores it: without angle brackets and control characters."""
    return "".join(c for c in text if c not in "<>" and c.isprintable()).strip()
