"""Git's texts: trees and blobs read, a commit written, as bytes that git understands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_ml.core.changes import Change


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
    """Blob id to content, out of ``git cat-file --batch``; ids that are missing are left out."""
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


def commit_stream(
    changes: Iterable[Change],
    *,
    parent: str | None,
    ref: str,
    message: str,
    author: tuple[str, str],
    seconds: int,
) -> bytes:
    """What ``git fast-import`` reads to write one commit, and to answer with its id.

    Raises:
        ValueError: a path leaves the repository, or git could not hold it.
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
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(change.after), change.after)


def _checked(path: str) -> str:
    parts = path.split("/")
    if "\0" in path or any(p in {"", ".", ".."} or p.lower() == ".git" for p in parts):
        raise ValueError(f"{path!r} is no path inside a git repository")
    return path


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return b'"' + escaped.encode("utf-8", "surrogateescape") + b'"'


def _clean(text: str) -> str:
    """A name or address as git stores it: without what ends it."""
    return "".join(c for c in text if c not in "<>" and c.isprintable()).strip()
