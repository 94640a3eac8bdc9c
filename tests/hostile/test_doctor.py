"""`gitops-ml doctor` where registry, forge, Git, Kubernetes, Prometheus and Loki are one hostile server."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.certificate_authority import authority
from tests.support.hostile_archives import bomb
from tests.support.hostile_servers import (
    BROKEN,
    ENDLESS,
    PAUSE,
    SLOW,
    flood,
    hostile,
    once,
    with_body,
)
from tests.support.person import container_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.person import Person

SECRETS = ("CANARY-forge", "CANARY-kubeconfig", "CANARY-registry", "CANARY-loki")
SUBJECTS = (
    "registry", "base image", "GitOps repository", "GitOps repository: forge", "Argo CD", "cluster main: Kubernetes",
    "cluster main: Prometheus", "cluster main: Loki",
)  # fmt: skip
"""One for each server that the project names."""


def page(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    return f"{head}{lines}\r\n".encode() + body


def shape(value: Any) -> bytes:
    return page(200, json.dumps(value).encode())


ANSWERS: dict[str, Callable[[], Iterable[bytes]]] = {
    "silence": SLOW["silence"],
    "headers that trickle": SLOW["headers that trickle"],
    "a header without an end": ENDLESS["a header without an end"],
    "redirects without an end": ENDLESS["redirects without an end"],
    "too many requests for ever": ENDLESS["too many requests for ever"],
    "no HTTP": BROKEN["no HTTP"],
    "only HTTP/2": once(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "a page to log in": once(page(200, b"<html>\n<input type=password>\n</html>\n", "X-Frame-Options: DENY")),
    "a bomb": once(with_body(bomb(b"", 300 << 20), "Content-Encoding: gzip")),
    "a body without an end": flood(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", b"[],"),
    **{str(status): once(page(status, b"go away\n")) for status in (401, 403, 404, 500, 503)},
    "429 for a day": once(page(429, b"", "Retry-After: 86400")),
    "a number": once(shape(1)),
    "an object of nothing": once(shape({"items": {}, "resources": [1], "status": "success", "data": [1]})),
    "escapes": once(page(500, b'{"kind": "Status", "message": "' + rb"\u001b[2J" * 999 + b'"}')),
}  # fmt: skip


def project_at(ann: Person, host: str, *, scheme: str = "http") -> None:
    """Everything that the project relies on is at ``host``, each with a secret of its own."""
    base = f"{scheme}://{host}"
    main = {
        "server": "https://kubernetes.default.svc",
        "prometheus": {"address": base},
        "loki": {"address": base, "token_env": "LOKI_TOKEN"},
        "gpu_classes": {"t4": {"preset": "nvidia"}},
        "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]},
    }
    forge = {"type": "gitea", "api_url": base, "token_env": "FORGE_TOKEN"}
    ann.has(container_api("iris"))
    ann.configures(
        image={"repository": f"{host}/ml", "base": f"{host}/base/python:3.12"},
        clusters={"main": main},
        environments={"staging": {"cluster": "main", "namespace": "ml-staging"}},
        gitops={"repository": f"{base}/acme/gitops.git", "forge": forge},
    )
    user = {"token": "CANARY-kubeconfig"}
    config = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": base}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    login = {"auth": base64.b64encode(b"me:CANARY-registry").decode()}
    (ann.home / "kubeconfig").write_text(yaml.safe_dump(config))
    (ann.home / "docker").mkdir()
    (ann.home / "docker" / "config.json").write_text(json.dumps({"auths": {host: login}}))
    for name, value in {
        "KUBECONFIG": str(ann.home / "kubeconfig"), "DOCKER_CONFIG": str(ann.home / "docker"),
        "FORGE_TOKEN": "CANARY-forge", "LOKI_TOKEN": "CANARY-loki",
    }.items():  # fmt: skip
        ann.monkeypatch.setenv(name, value)


def findings(ann: Person, *, seconds: float = 1.5) -> dict[str, tuple[str, str]]:
    """Text and remedy by subject, of a call that ended in time, with no traceback, secret or escape."""
    began = time.monotonic()
    result = ann.runs("doctor", "--output", "json", "--timeout", str(seconds))
    assert time.monotonic() - began < 20 * seconds, "far above the limit, for a busy machine"
    shown = result.out + result.err
    assert (result.code, [each for each in (*SECRETS, "\x1b", "Traceback") if each in shown]) == (
        7,
        [],
    )
    found = [each for each in result.json["checks"] if each["outcome"] == "finding"]
    assert [each for each in found if not each["remedy"] or len(each["text"]) > 2000] == []
    return {each["subject"]: (each["text"], each["remedy"]) for each in found}


@pytest.mark.parametrize("what", ANSWERS)
def test_each_server_is_one_finding(ann: Person, what: str) -> None:
    with hostile(ANSWERS[what], pause=PAUSE if what in SLOW else 0) as host:
        project_at(ann, host)
        found = findings(ann)
    assert [each for each in SUBJECTS if each not in found] == [], found
    if what not in ("404", "an object of nothing"):  # these are answers of their APIs
        assert len(found) == len(SUBJECTS), found


# -- what another server gets ----------------------------------------------------------------------


def sent_elsewhere(head: Callable[[str], bytes], ann: Person) -> str:
    """What a second server gets, to which the first one points."""
    got: list[bytes] = []

    with (
        hostile(once(page(200, b"{}")), hears=got.append) as other,
        hostile(once(head(other))) as host,
    ):
        project_at(ann, host)
        findings(ann)
    return b"\n".join(got).decode(errors="replace")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_brings_no_secret_to_another_server(ann: Person, status: int) -> None:
    sent = sent_elsewhere(lambda other: page(status, b"", f"Location: http://{other}/x"), ann)
    encoded = base64.b64encode(b"me:CANARY-registry").decode()
    assert not [each for each in (*SECRETS, encoded, "Authorization") if each in sent], sent
    assert "selfsubjectaccessreviews" not in sent


# -- TLS -------------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_said_with_the_remedy(
    ann: Person, tmp_path: Path
) -> None:
    _, context = authority(tmp_path)
    with hostile(once(page(200, b"{}")), tls=context) as host:
        project_at(ann, host, scheme="https")
        found = findings(ann, seconds=60)
    named = {name: "certificate" in " ".join(found[name]).lower() for name in SUBJECTS}
    assert named == dict.fromkeys(SUBJECTS, True), found
