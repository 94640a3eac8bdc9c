"""A proxy in front of a real registry that knows the referrers of OCI distribution 1.1."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_servers import Handler, answering

INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = re.compile(r"/v2/(.+)/manifests/[^/]+")
_REFERRERS = re.compile(r"/v2/(.+)/referrers/(sha256:[0-9a-f]{64})")


@dataclass
class ReferringRegistry:
    host: str
    known: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """Descriptors by repository and subject."""

    def note(self, name: str, body: bytes, kind: str) -> str | None:
        """Remember what a manifest refers to; returns the subject, as the specification wants."""
        manifest = json.loads(body)
        if "subject" not in manifest:
            return None
        subject: str = manifest["subject"]["digest"]
        entry = {
            "mediaType": kind,
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
            "size": len(body),
            "artifactType": manifest.get("artifactType") or manifest["config"]["mediaType"],
            "annotations": manifest.get("annotations", {}),
        }
        entries = self.known.setdefault((name, subject), [])
        if entry not in entries:
            entries.append(entry)
        return subject

    def index(self, name: str, digest: str, artifact_type: str) -> bytes:
        entries = self.known.get((name, digest), [])
        chosen = [e for e in entries if artifact_type in ("", e["artifactType"])]
        return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": chosen}).encode()


@contextmanager
def referring(upstream: str) -> Iterator[ReferringRegistry]:
    """The registry at ``upstream`` with referrers, while the block runs."""

    class Referring(Handler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            if match := _REFERRERS.fullmatch(url.path):
                kind = parse_qs(url.query).get("artifactType", [""])[0]
                filtered = [("OCI-Filters-Applied", "artifactType")] if kind else []
                content = found.index(match[1], match[2], kind)
                return self._answer(200, [("Content-Type", INDEX), *filtered], content)
            with closing(http.client.HTTPConnection(upstream, timeout=30)) as up:
                headers = {n: v for n, v in self.headers.items() if n.lower() != "connection"}
                up.request(self.command, self.path, body, headers)
                answer = up.getresponse()
                content = answer.read()
                kept = [(n, v) for n, v in answer.getheaders() if n.lower() != "content-length"]
                size = answer.getheader("Content-Length") if self.command == "HEAD" else None
            match = _MANIFEST.fullmatch(url.path)
            is_stored = match and self.command == "PUT" and answer.status == 201
            if match and is_stored:
                subject = found.note(match[1], body, self.headers["Content-Type"])
                kept += [("OCI-Subject", subject)] if subject else []
            return self._answer(answer.status, kept, content, size)

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def _answer(
            self, status: int, headers: list[tuple[str, str]], body: bytes, size: str | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", size or str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with answering(Referring) as host:
        found = ReferringRegistry(host)
        yield found
