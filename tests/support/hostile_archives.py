"""Archives that no honest program writes, and images and layouts of them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gitops_ml.oci.image_manifest import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    canonical_json,
    describe,
    digest_of,
)
from gitops_ml.oci.reference import ImageRef

PLAIN = LAYER.removesuffix("+gzip")
ONE_FILE = "app/good.txt"


def tar(*entries: tuple[str, bytes | None, str], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of (name, kind, content or target); kind ``None`` is a plain file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.type = kind or tarfile.REGTYPE
            if kind is None:
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))
            else:
                member.linkname = content
                archive.addfile(member)
    return packed.getvalue()


def block(name: str, *, kind: bytes = b"0", size: int = 0, target: str = "") -> bytes:
    """One header, whose numbers are not checked."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, target
    return member.tobuf(tarfile.GNU_FORMAT)


def resealed(header: bytes, **fields: tuple[int, bytes]) -> bytes:
    """A header with other bytes at some places, and a checksum that fits."""
    changed = bytearray(header)
    for at, content in fields.values():
        changed[at : at + len(content)] = content
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """A pax header of these records, each as it is."""
    content = b"".join(records)
    return block("PaxHeader", kind=kind, size=len(content)) + content + bytes(-len(content) % 512)


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    size = len(rest)
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return str(size).encode() + rest


@functools.cache
def bomb(head: bytes, size: int) -> bytes:
    """A gzip file of a head and ``size`` zeros, whole megabytes; made without compressing all of them."""
    packer, zeros = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1 << 20)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # after a full flush nothing refers to what came before, so that the block can be repeated
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    times, check = size >> 20, zlib.crc32(head)
    for _ in range(times):
        check = zlib.crc32(zeros, check)
    end = packer.flush() + struct.pack("<II", check, len(head) + (times << 20))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + first + block * times + end


def refused_archives() -> Iterator[tuple[str, bytes]]:
    """Archives (plain) that are refused as a project and as a model, by what is wrong."""
    good = tar((ONE_FILE, None, "good"))
    begun = good[:-1024].rstrip(b"\0").ljust(1024, b"\0")
    for name in (".git/config", "a/.git/hooks/x", ".GIT/config", ".git", "git~1/config", ".git./x",
                 ".git /x", ".g\u200cit/config", ".git::$INDEX_ALLOCATION/config", "GIT~1"):  # fmt: skip
        yield f"writes {name!r}", tar((f"app/{name}", None, "[core]"))
    yield "a file below a file", tar(("app/a", None, "1"), ("app/a/b", None, "2"))
    yield "a file where a folder is", tar(("app/a/b", None, "1"), ("app/a", None, "2"))
    yield "a long name of 1 GB", begun + block("././@LongLink", kind=b"L", size=1 << 30)
    yield "a long target of 1 GB", begun + block("././@LongLink", kind=b"K", size=1 << 30)
    yield "a pax header of 1 GB", begun + block("PaxHeader", kind=b"x", size=1 << 30)
    yield "a global pax header of 1 GB", begun + block("PaxHeader", kind=b"g", size=1 << 30)
    yield "long names without end", begun + block("././@LongLink", kind=b"L", size=0) * 5000
    yield "pax headers without end", begun + pax(record("path", "app/x")) * 5000
    for what, content in (
        ("without a length", b"path=app/x\n"), ("of length 0", b"0 path=app/x\n"),
        ("that is too long", b"99 path=app/x\n"), ("without a value", b"7 path\n"),
        ("of a negative length", b"-9 path=app/x\n"), ("of a huge length", b"9" * 5000 + b" a=b\n"),
    ):  # fmt: skip
        yield f"a pax record {what}", pax(content) + block("app/x")
    for size in ("-1", "1e9", "9" * 5000, "", " 5", "0x10", "\u0665"):
        yield f"a pax size {size[:9]!r}", pax(record("size", size)) + block("app/x")
    yield "a path of 2 MB", pax(record("path", "app/" + "a" * (2 << 20))) + block("x") + bytes(1024)
    yield (
        "a path of 5,000 bytes",
        tar(("app/" + "a/" * 2500 + "b", None, ""), form=tarfile.PAX_FORMAT),
    )
    yield "a name of 300 bytes", tar(("app/" + "a" * 300, None, ""))
    yield "a path with a NUL", pax(record("path", "app/a\0b")) + block("x") + bytes(1024)
    yield "a name that is not UTF-8", resealed(block("app/x"), name=(4, b"\xff\xfe")) + bytes(1024)
    for what, number in (("negative", b"\xff" * 12), ("huge", b"\x80" + b"\x7f" * 11),
                         ("no number", b"zzzzzzzzzzz\0"), ("signed", b"-0000000777\0")):  # fmt: skip
        yield f"a size that is {what}", resealed(block("app/x"), size=(124, number))
    yield "a size of a terabyte, cut off", block("app/x", size=1 << 40) + b"x" * 512
    yield "a wrong checksum", block("app/x")[:-1] + b"x" + bytes(1024)
    yield "cut off in a header", good[:300]
    yield "cut off in a file", tar(("app/x", None, "x" * 2000))[:1500]
    yield (
        "a link to a folder, and a file below it",
        tar(("app/d", b"2", "."), ("app/d/x", None, "x")),
    )
    yield "a long way after its end", good + bytes(3 << 20)
    yield "no archive", b"PK\x03\x04" * 400
    yield "absolute links", tar(("app/x", b"2", "/etc/passwd"))
    yield (
        "a link by way of a link",
        tar(("app/a/b/c/d", b"2", "../../.."), ("app/a/b/c/e", b"2", "d/../../outside.txt")),
    )
    yield (
        "a chain of links",
        tar(
            ("app/a/b/one", b"2", "../.."),
            ("app/a/two", b"2", "b/one/.."),
            ("app/z", b"2", "a/two"),
        ),
    )
    yield (
        "a loop of links, and a way out of it",
        tar(
            ("app/a/b/z", b"2", "../../loop"),
            ("app/loop", b"2", "loop"),
            ("app/a/b/q", b"2", "z/../.."),
        ),
    )
    yield "a chain of 2,000 links", tar(*((f"app/{n}", b"2", f"{n + 1}") for n in range(2000)))
    yield "a link without a target", tar(("app/x", b"2", ""))
    yield "a sparse file without end", resealed(
        block("app/x", kind=b"S"), more=(482, b"\x01")
    ) + (bytes(504) + b"\x01" + bytes(7)) * 4000  # fmt: skip


def layout_of(
    folder: Path, layer: bytes, *, diff_id: str, media_type: str = LAYER
) -> tuple[Path, ImageRef]:
    """An OCI layout of one image, which says that it is a project of ours."""
    blob = describe(layer, media_type)
    config = config_of([diff_id])
    manifest = ImageManifest(config=describe(config, CONFIG), layers=(blob,)).to_bytes()
    return write_layout(folder, manifest, (layer, config, manifest))


def config_of(diff_ids: list[str]) -> bytes:
    return canonical_json(
        {
            "os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "gitops-ml: the project"} for _ in diff_ids],
        }
    )  # fmt: skip


def write_layout(folder: Path, manifest: bytes, blobs: Iterable[bytes]) -> tuple[Path, ImageRef]:
    place = folder / "blobs" / "sha256"
    place.mkdir(parents=True)
    (folder / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    for content in (manifest, *blobs):
        (place / hashlib.sha256(content).hexdigest()).write_bytes(content)
    top = describe(manifest, MANIFEST)
    entry = Descriptor(MANIFEST, top.digest, top.size)
    (folder / "index.json").write_bytes(Index(manifests=(entry,)).to_bytes())
    return folder, ImageRef(str(folder), digest=top.digest)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


__all__ = ["bomb", "config_of", "digest_of", "layout_of", "packed", "refused_archives", "tar"]
