"""Servers: registries and their layers, forges, package indexes and their wheels, clusters."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.oci.image_manifest import CONFIG, LAYER, MANIFEST, ImageManifest, describe
from tests.fuzz.layer_bytes import Layout
from tests.hostile.net import Hostile
from tests.hostile.test_git import http
from tests.support.hostile_archives import bomb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.hostile.conftest import Holds
    from tests.hostile.net import Sandbox

FAILED = frozenset({1, 2, 3, 4, 5})
JSON = b"Content-Type: application/json"
NOT_THERE = http(b"404 None", b"{}", JSON)
DIGEST = "sha256:" + "1" * 64
ONE = {"mediaType": LAYER, "digest": DIGEST, "size": 0}

# -- registries ----------------------------------------------------------------------------------


def a_manifest(**changes: Any) -> bytes:
    one = {"mediaType": LAYER, "digest": DIGEST, "size": 1}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**one, "mediaType": CONFIG},
        "layers": [one],
    }
    return json.dumps(document | changes).encode()


def an_image(config: bytes, layers: int = 1) -> tuple[bytes, ...]:
    one = describe(b"", LAYER)
    manifest = ImageManifest(config=describe(config, CONFIG), layers=(one,) * layers).to_bytes()
    return (
        http(b"200 OK", manifest, b"Content-Type: " + MANIFEST.encode()),
        http(b"200 OK", config),
        NOT_THERE,
    )


def a_config(**changes: Any) -> bytes:
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    }
    return json.dumps(document | changes).encode()


def manifest_answer(text: bytes) -> tuple[bytes, ...]:
    return (http(b"200 OK", text, b"Content-Type: " + MANIFEST.encode()), NOT_THERE)


def an_index(platform: Any) -> tuple[bytes, ...]:
    one = {"mediaType": MANIFEST, "digest": DIGEST, "size": 1, "platform": platform}
    return manifest_answer(json.dumps({"manifests": [one]}).encode())


def challenge(text: bytes, *more: bytes) -> tuple[bytes, ...]:
    return (http(b"401 No", b"", b"WWW-Authenticate: " + text), *more)


TOKEN_PLACE = b'Bearer realm="http://{host}/token",service="s"'
REGISTRIES = {
    "nothing": (b"",),
    "no-http": (b"\x00" * 500,),
    "http-0.9": (b"hello\n",),
    "status-of-letters": (b"HTTP/1.1 abc\r\n\r\n",),
    "endless-header": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",),
    "many-headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",),
    "length-that-lies": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{}",),
    "length-below-nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",),
    "length-of-letters": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",),
    "chunk-that-lies": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",),
    "chunk-of-letters": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",),
    "chunk-below-nothing": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n",),
    "switches": (b"HTTP/1.1 101 Switching\r\n\r\n",),
    "informs-for-ever": (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,),
    "redirects-elsewhere": (http(b"307 Away", b"", b"Location: http://127.0.0.1:9/x"),),
    "redirects-to-a-file": (http(b"307 Away", b"", b"Location: file:///etc/passwd"),),
    "redirects-to-itself": (http(b"307 Away", b"", b"Location: /v2/"),),
    "redirects-to-nowhere": (http(b"307 Away", b"", b"Location: http://[::1"),),
    "redirects-with-a-line": (http(b"307 Away", b"", b"Location: /x\r\n y"),),
    "redirects-without-place": (http(b"307 Away"),),
    "busy-for-ever": (http(b"429 Later", b"", b"Retry-After: 999999999999999999999"),),
    "busy-since-long": (http(b"503 Later", b"", b"Retry-After: Thu, 01 Jan 1 00:00:00 GMT"),),
    "busy-with-no-date": (http(b"503 Later", b"", b"Retry-After: Thu, 99 Foo 99999 00:00:00 GMT"),),
    "error-with-an-escape": (http(b"403 No", b'{"errors":[{"code":"\\u001b[31m","message":"\\u009b2J"}]}'),),
    "error-of-another-shape": (http(b"403 No", b'{"errors":{"a":1}}'),),
    "error-of-a-list": (http(b"400 No", b"[[[[]]]]"),),
    "error-deep": (http(b"400 No", b"[" * 100_000),),
    "error-long": (http(b"400 No", b'{"errors":[{"message":"%s"}]}' % (b"x" * 1_000_000)),),
    "asks-for-nothing": challenge(b""),
    "asks-for-digest": challenge(b'Digest realm="x"'),
    "asks-with-quotes": challenge(b'Bearer realm="' + b"\\" * 50_000),
    "asks-elsewhere": challenge(b'Bearer realm="http://attacker.example.org/token"'),
    "asks-a-file": challenge(b'Bearer realm="file:///etc/passwd"'),
    "asks-a-broken-address": challenge(b'Bearer realm="http://[::1"'),
    "asks-basic": challenge(b'Basic realm="x"'),
    "asks-with-an-escape": challenge(b"\x1b[31m realm"),
    "token-of-a-list": challenge(TOKEN_PLACE, http(b"200 OK", b"[]")),
    "token-of-a-number": challenge(TOKEN_PLACE, http(b"200 OK", b'{"token": 1}'), NOT_THERE),
    "token-of-nothing": challenge(TOKEN_PLACE, http(b"200 OK", b'{"token": null}'), NOT_THERE),
    "token-with-a-line": challenge(TOKEN_PLACE, http(b"200 OK", b'{"token": "a\\r\\nX: y"}'), NOT_THERE),
    "token-of-letters": challenge(TOKEN_PLACE, http(b"200 OK", '{"token": "\u00e9\u20ac"}'.encode()), NOT_THERE),
    "token-deep": challenge(TOKEN_PLACE, http(b"200 OK", b"[" * 100_000), NOT_THERE),
    "token-no-json": challenge(TOKEN_PLACE, http(b"200 OK", b"<html>"), NOT_THERE),
    "token-refused": challenge(TOKEN_PLACE, http(b"401 No", b"\x1b[31m")),
    "manifest-of-nothing": manifest_answer(b""),
    "manifest-of-null": manifest_answer(b"null"),
    "manifest-of-a-list": manifest_answer(b"[]"),
    "manifest-of-a-text": manifest_answer(b'"x"'),
    "manifest-deep": manifest_answer(b'{"layers":' + b"[" * 200_000),
    "manifest-not-unicode": manifest_answer(b"\xff\xfe{}"),
    "manifest-of-a-number": manifest_answer(b"9" * 500_000),
    "manifest-over-the-limit": manifest_answer(b" " * (17 << 20)),
    "manifest-size-infinite": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": Infinity')),
    "manifest-size-nan": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": NaN')),
    "manifest-size-1e999": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": 1e999')),
    "manifest-size-long": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": "' + b"9" * 10_000 + b'"')),
    "manifest-size-below-nothing": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": -1')),
    "manifest-size-huge": manifest_answer(a_manifest().replace(b'"size": 1', b'"size": 1152921504606846976')),
    "manifest-layers-of-texts": manifest_answer(a_manifest(layers=["x"])),
    "manifest-layers-of-null": manifest_answer(a_manifest(layers=None)),
    "manifest-many-layers": manifest_answer(a_manifest(layers=[ONE] * 20_000)),
    "manifest-annotations-of-a-list": manifest_answer(a_manifest(annotations=[1])),
    "manifest-digest-as-a-path": manifest_answer(a_manifest(config={**ONE, "digest": "../../x"})),
    "manifest-digest-with-a-line": manifest_answer(a_manifest(config={**ONE, "digest": DIGEST + "\n"})),
    "manifest-kind-with-an-escape": manifest_answer(a_manifest(mediaType="\x1b[31m")),
    "manifest-of-the-first-kind": manifest_answer(b'{"schemaVersion": 1, "fsLayers": []}'),
    "index-of-nothing": manifest_answer(b'{"manifests": []}'),
    "index-of-itself": an_index({"os": "linux", "architecture": "amd64"}),
    "index-platform-of-a-list": an_index([1]),
    "index-platform-with-slashes": an_index({"os": "a/b/c", "architecture": "/"}),
    "other-digest": (http(b"200 OK", a_manifest(), b"Docker-Content-Digest: sha256:" + b"2" * 64),),
    "config-of-a-list": an_image(b"[]"),
    "config-deep": an_image(b'{"config":' + b"[" * 200_000),
    "config-os-of-a-list": an_image(a_config(os=["x"])),
    "config-os-of-a-number": an_image(a_config(os=1, architecture=2)),
    "config-labels-of-a-list": an_image(a_config(config={"Labels": [1]})),
    "config-labels-of-a-text": an_image(a_config(config={"Labels": "x"})),
    "config-labels-with-escapes": an_image(a_config(config={"Labels": {"\x1b[31m": "\x9b2J"}})),
    "config-of-a-text": an_image(a_config(config="x")),
    "config-env-of-numbers": an_image(a_config(config={"Env": [1, None, {}]})),
    "config-entrypoint-of-a-number": an_image(a_config(config={"Entrypoint": 1})),
    "config-history-of-texts": an_image(a_config(history=["x"])),
    "config-history-of-a-number": an_image(a_config(history=1)),
    "config-history-words-of-a-list": an_image(a_config(history=[{"created_by": ["\x1b[31m"]}])),
    "config-rootfs-of-null": an_image(a_config(rootfs=None)),
    "config-layers-of-numbers": an_image(a_config(rootfs={"diff_ids": [1]})),
    "config-of-other-layers": an_image(a_config(), layers=3),
    "config-platform-with-slashes": an_image(a_config(os="a/b", architecture="")),
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTRIES)
def test_what_a_registry_answers_is_read_or_refused(holds: Holds, name: str) -> None:
    one = Hostile(name=name, answers=REGISTRIES[name], arguments=("{host}",))
    holds(one, call="inspect")


NAMED = b"Docker-Content-Digest: " + DIGEST.encode()
LENGTHS = {
    "missing": b"", "of-letters": b"Content-Length: x\r\n", "of-a-fraction": b"Content-Length: 1.5\r\n",
    "long": b"Content-Length: %s\r\n" % (b"9" * 5000), "below-nothing": b"Content-Length: -1\r\n",
}  # fmt: skip
HEADS = {
    **{
        f"length-{name}": (b"HTTP/1.1 200 OK\r\n%s\r\n%s\r\n" % (NAMED, text),)
        for name, text in LENGTHS.items()
    },
    "digest-with-an-escape": (http(b"200 OK", b"", b"Docker-Content-Digest: \x1b[31m"),),
    "digest-of-sha512": (http(b"200 OK", b"", b"Docker-Content-Digest: sha512:" + b"1" * 128),),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_what_a_registry_says_of_a_tag_is_read_or_refused(holds: Holds, name: str) -> None:
    holds(Hostile(name=name, answers=HEADS[name], arguments=("{host}",)), call="digest")


# -- layers --------------------------------------------------------------------------------------


def tar(*entries: tuple[str, bytes, str, bytes], end: bytes = bytes(1024)) -> bytes:
    """An archive of (name, type, link, content)."""
    out = io.BytesIO()
    for name, kind, link, content in entries:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, len(content)
        out.write(entry.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
        out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + end


def file(name: str, content: bytes = b"x") -> tuple[str, bytes, str, bytes]:
    return (name, tarfile.REGTYPE, "", content)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[str, bytes, str, bytes]:
    return (name, kind, target, b"")


def claims(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that claims more than there is."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def pax(text: bytes, kind: bytes = tarfile.XHDTYPE) -> tuple[str, bytes, str, bytes]:
    return ("pax", kind, "", b"%d %s" % (len(text) + len(b"%d " % len(text)), text))


LAYERS = {
    "git-config": tar(file("app/.git/config", b"[core]\n fsmonitor = touch {trip}/x\n"), file("app/a.py")),
    "git-below": tar(file("app/sub/.git/hooks/pre-commit"), file("app/a.py")),
    "git-capitals": tar(file("app/.GIT/config")),
    "git-file": tar(file("app/.git", b"gitdir: /x\n")),
    "git-link": tar(link("app/.git", "sub"), file("app/sub/config")),
    "bare-repository": tar(file("app/HEAD"), file("app/config"), file("app/objects/x"), file("app/refs/x")),
    "above": tar(file("app/../../outside.txt")),
    "absolute": tar(file("/etc/x"), file("//app/../x")),
    "above-in-the-middle": tar(file("app/a/../../../x")),
    "link-outside": tar(link("app/a", "../../outside.txt")),
    "link-absolute": tar(link("app/a", "/etc/passwd")),
    "link-by-a-link": tar(link("app/a/b/c/d", "../../.."), link("app/a/b/c/e", "d/../outside.txt")),
    "link-then-file": tar(link("app/a", "b"), link("app/b", ".."), file("app/a/outside.txt")),
    "file-then-link": tar(file("app/a/b"), link("app/a", "/tmp")),
    "hard-link-outside": tar(link("app/a", "../../outside.txt", tarfile.LNKTYPE)),
    "hard-link-absolute": tar(link("app/a", "{root}/outside.txt", tarfile.LNKTYPE)),
    "link-of-many": tar(*(link(f"app/l{n}", f"l{n + 1}") for n in range(2000))),
    "link-to-itself": tar(link("app/a", "a"), file("app/a/b")),
    "device": tar(("app/a", tarfile.CHRTYPE, "", b"")),
    "pipe": tar(("app/a", tarfile.FIFOTYPE, "", b"")),
    "unknown-kind": tar(("app/a", b"Z", "", b"x")),
    "set-user-id": tar(file("app/a")).replace(b"0000644", b"0006755"),
    "below-a-file": tar(file("app/a"), file("app/a/b")),
    "file-for-a-folder": tar(file("app/a/b"), file("app/a")),
    "same-name-often": tar(*(file("app/a") for _ in range(2000))),
    "escape-in-a-name": tar(file("app/\x1b[31m")),
    "line-in-a-name": tar(file("app/a\nb")),
    "zero-in-a-name": tar(pax(b"path=app/a\0b\n"), file("app/x")),
    "not-unicode": tar(file("app/\udcff")),
    "long-part": tar(file("app/" + "a" * 90), pax(b"path=app/" + b"a" * 5000 + b"\n"), file("x")),
    "deep": tar(pax(b"path=app/" + b"a/" * 5000 + b"b\n"), file("x")),
    "empty-name": tar(file("app/"), file("")),
    "only-dots": tar(file("app/."), file("app/..")),
    "pax-above": tar(pax(b"path=app/../../x\n"), file("app/x")),
    "pax-for-all": tar(pax(b"path=app/../../x\n", tarfile.XGLTYPE), file("app/x")),
    "pax-without-end": tar(("pax", tarfile.XHDTYPE, "", b"99 path=x\n"), file("app/x")),
    "pax-length-long": tar(("pax", tarfile.XHDTYPE, "", b"9" * 5000 + b" path=x\n"), file("app/x")),
    "pax-size": tar(pax(b"size=999999999999\n"), file("app/x")),
    "pax-size-of-letters": tar(pax(b"size=abc\n"), file("app/x")),
    "pax-many": tar(*(pax(b"a=b\n") for _ in range(2000)), file("app/x")),
    "pax-sparse": tar(pax(b"GNU.sparse.size=999999999999\n"), pax(b"GNU.sparse.map=0,1\n"), file("app/x")),
    "long-names-of-long-names": tar(*(("n", b"L", "", b"x" * 200) for _ in range(2000)), file("app/x")),
    "no-archive": b"hello" * 1000,
    "no-end": tar(file("app/a"), end=b""),
    "cut": tar(file("app/a", b"x" * 5000))[:1500],
    "claims-much": claims("app/a", 1 << 40),
    "claims-less-than-nothing": tar(file("app/a")).replace(b"00000000001\0", b"-0000000001\0"),
    "wrong-checksum": tar(file("app/a")).replace(b"0000644", b"0000755"),
    "nothing": b"",
}  # fmt: skip
BOMBS = {
    "zeros": bomb(b"", 300 << 20),
    "long-name": bomb(claims("././@LongLink", 300 << 20, b"L"), 300 << 20),
    "long-link": bomb(claims("././@LongLink", 300 << 20, b"K"), 300 << 20),
    "pax": bomb(claims("pax", 300 << 20, tarfile.XHDTYPE), 300 << 20),
    "pax-for-all": bomb(claims("pax", 300 << 20, tarfile.XGLTYPE), 300 << 20),
    "no-gzip": b"hello" * 1000,
    "cut-gzip": bomb(b"", 1 << 20)[:500],
    "gzip-of-gzip": gzip.compress(bomb(b"", 20 << 20)),
    "many-gzips": gzip.compress(b"") * 5000,
    "gzip-with-a-long-name": b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 1_000_000,
}
_CREATES = {"hard-link-outside", "hard-link-absolute"}


def layer_answers(layer: bytes, *, is_gzip: bool) -> tuple[bytes, ...]:
    """The answers to an export: manifest, config, layer; those to a pull begin alike."""
    # what is in a bomb is never as large as it claims, so its digest is not worth unpacking it for
    layout = Layout.of(layer, is_gzip=False)
    if is_gzip:
        layout = (
            Layout.of(layer, is_gzip=True, diff_id=DIGEST) if len(layer) < 5000 else _packed(layer)
        )
    manifest = layout.blobs[layout.top.digest]
    found = json.loads(manifest)
    config = layout.blobs[found["config"]["digest"]]
    kind = b"Content-Type: " + MANIFEST.encode()
    return (http(b"200 OK", manifest, kind), http(b"200 OK", config), http(b"200 OK", layer), NOT_THERE)  # fmt: skip


def _packed(layer: bytes) -> Layout:
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "config": {}, "history": [{"created_by": "gitops-ml: the project"}],
         "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}
    ).encode()  # fmt: skip
    content = ImageManifest(
        config=describe(config, CONFIG), layers=(describe(layer, LAYER),)
    ).to_bytes()
    blobs = {describe(each, "").digest: each for each in (layer, config, content)}
    return Layout(blobs, describe(content, MANIFEST), b"")


ALL_LAYERS = [(name, layer, False) for name, layer in LAYERS.items()]
ALL_LAYERS += [(f"gzip-{name}", layer, True) for name, layer in BOMBS.items()]


@pytest.mark.parametrize(("name", "layer", "is_gzip"), ALL_LAYERS, ids=[e[0] for e in ALL_LAYERS])
def test_a_hostile_layer_is_exported_into_its_folder_or_not_at_all(
    holds: Holds, name: str, layer: bytes, is_gzip: bool
) -> None:
    answers = layer_answers(layer, is_gzip=is_gzip)
    holds(Hostile(name=name, answers=answers, arguments=("{host}",)), call="export")


@pytest.mark.parametrize(("name", "layer", "is_gzip"), ALL_LAYERS, ids=[e[0] for e in ALL_LAYERS])
def test_a_hostile_model_is_pulled_into_its_folder_or_not_at_all(
    holds: Holds, name: str, layer: bytes, is_gzip: bool
) -> None:
    manifest, _, blob, _ = layer_answers(layer, is_gzip=is_gzip)
    answers = (manifest, manifest, blob)
    holds(Hostile(name=name, answers=answers, arguments=("{host}",)), call="pull")


# -- forges --------------------------------------------------------------------------------------

KINDS = ("github", "gitlab", "gitea", "bitbucket")
BODIES = {
    "nothing": b"",
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "list-of-texts": b'["x"]',
    "list-of-null": b"[null]",
    "empty-object": b"{}",
    "object-of-lists": b'{"values": {"a": 1}, "size": 1}',
    "deep": b"[" * 100_000,
    "html": b"<html>\x1b[31m</html>",
    "not-unicode": b"\xff\xfe",
    "long-number": b'[{"number": ' + b"9" * 5000 + b"}]",
    "half": b'[{"number": 1, "head": {}}]',
    "wrong-kinds": b'[{"number": "x", "iid": [], "id": {}, "head": 1, "base": null, "title": 5, "state": [], '
    b'"html_url": 1, "web_url": {}, "labels": 3, "links": []}]',
    "escapes": b'[{"number": 1, "iid": 1, "id": 1, "title": "\\u001b[31m", "state": "open", "html_url": "\\u009b2J"}]',
}  # fmt: skip
STATUSES = {
    "error-with-an-escape": http(b"422 No", b'{"message": "\\u001b[31m\\u001b]0;x\\u0007"}', JSON),
    "error-of-lists": http(b"422 No", b'{"errors": [[[1]]], "message": {"a": [null]}}', JSON),
    "error-deep": http(b"403 No", b"[" * 100_000, JSON),
    "error-long": http(b"500 No", b'{"message": "%s"}' % (b"x" * 1_000_000), JSON),
    "rate-limit-for-ever": http(b"429 No", b"{}", JSON, b"Retry-After: 1e999"),
    "rate-limit-of-letters": http(b"403 No", b"{}", JSON, b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: x"),
    "rate-limit-far": http(b"403 No", b"{}", JSON, b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: " + b"9" * 400),
    "redirect-elsewhere": http(b"302 Away", b"", b"Location: http://127.0.0.1:9/x"),
    "redirect-to-itself": http(b"302 Away", b"", b"Location: http://{host}/api"),
    "redirect-to-a-file": http(b"302 Away", b"", b"Location: file:///etc/passwd"),
    "pages-for-ever": http(b"200 OK", b"[]", JSON, b'Link: <http://{host}/api?page=2>; rel="next"'),
    "pages-elsewhere": http(b"200 OK", b"[]", JSON, b'Link: <http://127.0.0.1:9/x>; rel="next"'),
    "pages-broken": http(b"200 OK", b"[]", JSON, b"Link: " + b"<" * 50_000),
    "bomb": http(b"200 OK", bomb(b"[", 300 << 20), JSON, b"Content-Encoding: gzip"),
    "no-gzip": http(b"200 OK", b"hello", JSON, b"Content-Encoding: gzip"),
    "nothing-at-all": b"",
}  # fmt: skip
FORGES = [
    Hostile(name=f"{kind}-{name}", arguments=(kind, "{host}"), answers=(answer,))
    for kind in KINDS
    for name, answer in {
        **{n: http(b"200 OK", b, JSON) for n, b in BODIES.items()},
        **STATUSES,
    }.items()
    if kind in ("github", "gitlab") or name in BODIES
]


@pytest.mark.parametrize("hostile", FORGES, ids=str)
def test_what_a_forge_answers_is_a_sentence(holds: Holds, hostile: Hostile) -> None:
    holds(hostile, call="forge")


# -- package indexes and wheels --------------------------------------------------------------------

HTML = b"Content-Type: text/html"
LISTING = b"Content-Type: application/vnd.pypi.simple.v1+json"


def listed(**entry: Any) -> bytes:
    one = {"filename": "six-1.0-py3-none-any.whl", "url": "six.whl", "hashes": {"sha256": "0" * 64}}
    return http(b"200 OK", json.dumps({"files": [one | entry]}).encode(), LISTING)


INDEXES = {
    "nothing": b"",
    "no-json": http(b"200 OK", b"<html>", LISTING),
    "list": http(b"200 OK", b"[]", LISTING),
    "null": http(b"200 OK", b"null", LISTING),
    "files-of-texts": http(b"200 OK", b'{"files": ["x"]}', LISTING),
    "files-of-null": http(b"200 OK", b'{"files": null}', LISTING),
    "deep": http(b"200 OK", b"[" * 100_000, LISTING),
    "hashes-of-a-list": listed(hashes=[1]),
    "name-above": listed(filename="../../outside.txt"),
    "name-absolute": listed(filename="/tmp/x.whl"),
    "name-with-an-escape": listed(filename="\x1b[31m.whl"),
    "name-of-nothing": listed(filename=""),
    "name-with-zero": listed(filename="a\0b.whl"),
    "name-long": listed(filename="a" * 5000 + ".whl"),
    "address-of-a-file": listed(url="file://{root}/outside.txt"),
    "address-of-passwd": listed(url="file:///etc/passwd"),
    "address-of-zeros": listed(url="file:///dev/zero"),
    "address-elsewhere": listed(url="http://127.0.0.1:9/six.whl"),
    "address-broken": listed(url="http://[::1"),
    "html-broken": http(b"200 OK", b"<a href=" * 50_000, HTML),
    "html-without-end": http(b"200 OK", b"<!" + b"-" * 500_000, HTML),
    "html-brackets": http(b"200 OK", b"<" * 500_000, HTML),
    "html-address": http(b"200 OK", b'<a href="http://[::1">x</a>', HTML),
    "html-above": http(b"200 OK", b'<a href="%2e%2e%2f%2e%2e%2foutside.txt">x</a>', HTML),
    "html-file": http(b"200 OK", b'<a href="file:///etc/passwd">x</a>', HTML),
    "redirect-to-a-file": http(b"302 Away", b"", b"Location: file:///etc/passwd"),
    "redirect-for-ever": http(b"302 Away", b"", b"Location: /simple/six/"),
    "bomb": http(b"200 OK", bomb(b"", 300 << 20), LISTING, b"Content-Encoding: gzip"),
    "refused-with-an-escape": http(b"403 \x1b[31m", b"\x1b[31m"),
    "charset": http(b"200 OK", b"a-" + b"b" * 100_000, b"Content-Type: text/html; charset=punycode"),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in INDEXES if name != "bomb"])
def test_what_a_package_index_answers_is_read_or_refused(holds: Holds, name: str) -> None:
    """uv reads it, and unpacks it without a bound."""
    holds(Hostile(name=name, answers=(INDEXES[name],), arguments=("{host}",)), call="index")


@pytest.mark.parametrize("name", ["nothing", "bomb", *(n for n in INDEXES if "re" in n)])
def test_what_comes_as_a_wheel_is_written_or_refused(holds: Holds, name: str) -> None:
    holds(Hostile(name=name, answers=(INDEXES[name],), arguments=("{host}",)), call="package")


METADATA = b"Metadata-Version: 2.1\nName: six\nVersion: 1.0\n"
RECORD = b"six.py,,\nsix-1.0.dist-info/METADATA,,\nsix-1.0.dist-info/RECORD,,\n"
WHEEL = {"six.py": b"", "six-1.0.dist-info/METADATA": METADATA, "six-1.0.dist-info/RECORD": RECORD,
         "six-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"}  # fmt: skip
INFO = "six-1.0.dist-info"


def zipped(files: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def a_wheel(**more: bytes) -> bytes:
    return zipped([*WHEEL.items(), *more.items()])


def a_zip_link() -> bytes:
    entry = zipfile.ZipInfo("six/link")
    entry.external_attr = 0o120777 << 16
    return zipped([*WHEEL.items(), (entry, b"/etc/passwd")])


WHEELS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no-zip": lambda: b"hello" * 100,
    "empty": lambda: zipped([]),
    "no-metadata": lambda: zipped([("six.py", b"")]),
    "two-metadata": lambda: a_wheel(**{"x-1.0.dist-info/METADATA": METADATA, "x-1.0.dist-info/RECORD": b""}),
    "above": lambda: a_wheel(**{"../../outside.py": b"x"}),
    "absolute": lambda: a_wheel(**{"/etc/x.py": b"x"}),
    "data-above": lambda: a_wheel(**{"six-1.0.data/scripts/../../../x": b"x"}),
    "data-of-no-kind": lambda: a_wheel(**{"six-1.0.data/x/y": b"x"}),
    "data-without-kind": lambda: a_wheel(**{"six-1.0.data/": b""}),
    "link": lambda: a_zip_link(),
    "backslashes": lambda: a_wheel(**{"..\\..\\x.py": b"x"}),
    "escape": lambda: a_wheel(**{"\x1b[31m.py": b"x"}),
    "pth": lambda: a_wheel(**{"evil.pth": b"import os; os.system('touch /tmp/x')\n"}),
    "scripts-broken": lambda: a_wheel(**{f"{INFO}/entry_points.txt": b"[console_scripts]\n../x = a:b\n"}),
    "scripts-code": lambda: a_wheel(**{f"{INFO}/entry_points.txt": b"[console_scripts]\nx = os:system('x')\n"}),
    "scripts-lines": lambda: a_wheel(**{f"{INFO}/entry_points.txt": b"[" * 100_000}),
    "scripts-not-unicode": lambda: a_wheel(**{f"{INFO}/entry_points.txt": b"\xff\xfe"}),
    "metadata-bomb": lambda: zipped(
        [*list(WHEEL.items())[2:], (f"{INFO}/METADATA", METADATA + bytes(300 << 20))]),
    "record-bomb": lambda: zipped([*list(WHEEL.items())[:2], (f"{INFO}/RECORD", bytes(300 << 20))]),
    "record-quotes": lambda: zipped([*list(WHEEL.items())[:2], (f"{INFO}/RECORD", b'"' * 500_000)]),
    "many-files": lambda: zipped([*WHEEL.items(), *((f"six/{n}.py", b"") for n in range(5000))]),
    "same-name": lambda: zipped([*WHEEL.items(), ("six/a.py", b""), ("six/A.py", b"")]),
    "cut": lambda: a_wheel()[:-30],
    "wrong-size": lambda: a_wheel().replace(b"\x00\x00six.py", b"\xff\xffsix.py"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHEELS)
def test_a_hostile_wheel_stays_in_its_place_or_is_refused(holds: Holds, name: str) -> None:
    def build(sandbox: Sandbox) -> None:
        (sandbox.project / "six-1.0-py3-none-any.whl").write_bytes(WHEELS[name]())

    holds(Hostile(name=name, build=build, arguments=("six-1.0-py3-none-any.whl",)), call="wheel")


# -- clusters ------------------------------------------------------------------------------------


def items(*found: Any) -> bytes:
    return http(
        b"200 OK", json.dumps({"kind": "List", "metadata": {}, "items": found}).encode(), JSON
    )


CLUSTERS = {
    "nothing": b"",
    "null": http(b"200 OK", b"null", JSON),
    "list": http(b"200 OK", b"[]", JSON),
    "html": http(b"200 OK", b"<html>", JSON),
    "deep": http(b"200 OK", b"[" * 100_000, JSON),
    "items-of-null": http(b"200 OK", b'{"items": null}', JSON),
    "items-of-a-text": http(b"200 OK", b'{"items": "x"}', JSON),
    "item-of-null": items(None),
    "item-of-a-text": items("x"),
    "item-of-nothing": items({}),
    "metadata-of-a-list": items({"metadata": [], "spec": [], "status": []}),
    "names-of-numbers": items({"metadata": {"name": 1, "labels": [1]}, "spec": {}, "status": {}}),
    "labels-of-null": items({"metadata": {"name": "x", "labels": {"a": None}}, "spec": {}, "status": {}}),
    "times-of-letters": items({"metadata": {"name": "x", "creationTimestamp": "yesterday"}, "status": {}}),
    "conditions-of-texts": items({"metadata": {"name": "x"}, "status": {"conditions": ["x"], "containerStatuses": 1}}),
    "counts-of-texts": items(
        {"metadata": {"name": "x"}, "status": {"replicas": "x", "readyReplicas": {}}, "spec": {"replicas": []}}),
    "pages-for-ever": http(b"200 OK", b'{"metadata": {"continue": "x"}, "items": []}', JSON),
    "bomb": http(b"200 OK", bomb(b"", 300 << 20), JSON, b"Content-Encoding: gzip"),
    "refused-with-an-escape": http(b"403 No", b'{"kind": "Status", "message": "\\u001b[31m"}', JSON),
    "redirect": http(b"302 Away", b"", b"Location: http://127.0.0.1:9/"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_a_cluster_answers_is_read_or_a_sentence(holds: Holds, name: str) -> None:
    holds(Hostile(name=name, answers=(CLUSTERS[name],), arguments=("{host}",)), call="cluster")
