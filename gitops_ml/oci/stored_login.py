"""Store the credentials of a registry where `docker login` stores them.

With a credential helper for the registry, the helper stores them; else they are in docker's
``config.json``, which only its owner can read. Everything else in that file stays as it is.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping

from gitops_ml.errors import ProgramFailed, Refused, UsageError
from gitops_ml.oci.credentials import (
    DOCKER_HUB,
    Credentials,
    docker_folder,
    helper_for,
    read_config,
)
from gitops_ml.system import process
from gitops_ml.system.files import written

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
_HELPER_SECONDS = 60
_HUBS = ("docker.io", "index.docker.io", "registry-1.docker.io")


def registry_host(text: str) -> str:
    """The registry that ``text`` names: ``ghcr.io``, ``registry.acme.example:5000``.

    Raises:
        UsageError: it is a URL or an image.
    """
    if not _HOST.fullmatch(text):
        host = text.partition("://")[2] or text
        hint = host.partition("/")[0].rpartition("@")[2]
        also = f", such as {hint}" if _HOST.fullmatch(hint) else ""
        raise UsageError(f"{text!r} is not a registry: write its host and port only{also}")
    return "docker.io" if text.lower() in _HUBS else text.lower()


def store_credentials(host: str, credentials: Credentials, *, environ: Mapping[str, str]) -> str:
    """Store the credentials; returns where they are now, for messages.

    Raises:
        Refused: docker's configuration cannot be read, or its helper does not store them.
    """
    path = docker_folder(environ) / "config.json"
    config = dict(read_config(path))
    key = DOCKER_HUB if host == "docker.io" else host
    if helper := helper_for(config, key):
        _store_in(f"docker-credential-{helper}", key, credentials)
        return f"docker-credential-{helper}"
    pair = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    config["auths"] = {**(config.get("auths") or {}), key: {"auth": pair}}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link into a folder of dotfiles stays one. The file is only readable by its owner.
    with written(path.resolve()) as out:
        os.fchmod(out.fileno(), 0o600)
        out.write(json.dumps(config, indent="\t").encode() + b"\n")
    return str(path)


def _store_in(program: str, server: str, credentials: Credentials) -> None:
    entry = {
        "ServerURL": server, "Username": credentials.username, "Secret": credentials.password,
    }  # fmt: skip
    try:
        process.run([program, "store"], input=json.dumps(entry), timeout=_HELPER_SECONDS)
    except ProgramFailed as error:
        # Its output may repeat what it was given.
        raise Refused(
            f"{program}, which docker's configuration names for {server}, did not store the credentials "
            f"(exit code {error.returncode})"
        ) from None
