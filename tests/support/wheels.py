"""Small wheels and an index that serves them, made for one test."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.http_servers import Handler, answering


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes] | None = None,
    executable: Sequence[str] = (),
    requires: Sequence[str] = (),
    entry_points: str = "",
    tag: str = "py3-none-any",
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """A wheel in ``folder``, as a build backend would make it."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content: dict[str, str | bytes] = {
        **(files if files is not None else {f"{stem}/__init__.py": f"version = {version!r}\n"}),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{version}-{tag}.whl"
    rows = []
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file, text in content.items():
            data = text.encode() if isinstance(text, str) else text
            entry = zipfile.ZipInfo(file, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = compression
            entry.external_attr = (0o100755 if file in executable else 0o100644) << 16
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            rows.append(f"{file},sha256={digest},{len(data)}\n")
        record = zipfile.ZipInfo(f"{info}/RECORD", (2020, 1, 1, 0, 0, 0))
        archive.writestr(record, "".join([*rows, f"{info}/RECORD,,\n"]))
    return path


@dataclass
class PackageServer:
    """A running index of the wheels in ``folder``."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    yanked: dict[str, str] = field(default_factory=dict)
    """Why a file was withdrawn, by its name."""
    as_json: bool = True
    tells_hashes: bool = True
    password: str = ""


@contextmanager
def package_server(folder: Path) -> Iterator[PackageServer]:
    """An index on the loopback while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)

    class Index(Handler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            wanted = "Basic " + base64.b64encode(f"user:{found.password}".encode()).decode()
            if found.password and self.headers.get("Authorization") != wanted:
                return self._answer(401, b"", "text/plain")
            parts = self.path.strip("/").split("/")
            if parts[0] == "files":
                path = folder / parts[1]
                if not path.is_file():
                    return self._answer(404, b"", "text/plain")
                return self._answer(200, path.read_bytes(), "application/octet-stream")
            files = [p for p in sorted(folder.iterdir()) if _name(p) == parts[-1]]
            if not files:
                return self._answer(404, b"", "text/plain")
            kind = "application/vnd.pypi.simple.v1+json" if found.as_json else "text/html"
            body = _json(found, files) if found.as_json else _html(found, files)
            return self._answer(200, body, kind)

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.answer(status, body, {"Content-Type": kind})

    with answering(Index) as host:
        found = PackageServer(f"http://{host}/simple", folder)
        yield found


def _name(path: Path) -> str:
    return path.name.split("-")[0].replace("_", "-").lower()


def _json(server: PackageServer, files: Sequence[Path]) -> bytes:
    entries = [
        {
            "filename": path.name,
            "url": f"/files/{path.name}",
            "hashes": {"sha256": _sha256(path)} if server.tells_hashes else {},
            "yanked": server.yanked.get(path.name, False),
        }
        for path in files
    ]
    meta = {"meta": {"api-version": "1.0"}, "name": _name(files[0]), "files": entries}
    return json.dumps(meta).encode()


def _html(server: PackageServer, files: Sequence[Path]) -> bytes:
    lines = ["<!DOCTYPE html><html><body>"]
    for path in files:
        fragment = f"#sha256={_sha256(path)}" if server.tells_hashes else ""
        yanked = server.yanked.get(path.name)
        mark = f' data-yanked="{yanked}"' if yanked is not None else ""
        lines.append(f'<a href="../../files/{path.name}{fragment}"{mark}>{path.name}</a>')
    return "\n".join([*lines, "</body></html>"]).encode()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
