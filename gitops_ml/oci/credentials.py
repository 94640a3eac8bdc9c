"""The user's registry credentials, in docker's ``config.json`` and its credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitops_ml.errors import ProgramFailed, Refused, UsageError
from gitops_ml.system import process
from gitops_ml.system.cache import home_folder
from gitops_ml.system.files import written
from gitops_ml.system.project_files import LARGEST_SETTINGS, read_file

DOCKER_HUB = "https://index.docker.io/v1/"
"""The key under which `docker login` without a registry stores Docker Hub's credentials."""

_NOT_INSTALLED = 127
_HAS_NONE = 1
_HELPER_SECONDS = 60
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper answers in place of a user name


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for one registry. ``identity_token`` takes the place of user and password."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def find_credentials(host: str, *, environ: Mapping[str, str]) -> Credentials | None:
    """The user's credentials for a registry, or ``None`` where there are none.

    Raises:
        Refused: docker's configuration cannot be read, or names a helper that is not installed or fails.
    """
    path = docker_folder(environ) / "config.json"
    config = read_config(path)
    names = (DOCKER_HUB, "docker.io", "index.docker.io") if host == "docker.io" else (host,)
    helpers = config.get("credHelpers") or {}
    for name in names:
        if helper := helpers.get(name):
            return _from_helper(str(helper), name, path)
    entries = {_host_of(key): entry for key, entry in (config.get("auths") or {}).items()}
    for name in names:
        if found := _from_entry(entries.get(_host_of(name)) or {}):
            return found
    if store := config.get("credsStore"):
        found_in_store = (_from_helper(str(store), name, path) for name in names)
        return next(filter(None, found_in_store), None)
    return None


def docker_folder(environ: Mapping[str, str]) -> Path:
    """The folder of docker's configuration."""
    return Path(environ.get("DOCKER_CONFIG") or home_folder(environ) / ".docker")


def read_config(path: Path) -> Mapping[str, Any]:
    """Docker's configuration; empty where there is none."""
    try:
        config = json.loads(read_file(path, limit=LARGEST_SETTINGS).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise Refused(f"{path} is not docker's configuration: it does not hold a JSON object")
    for key in ("auths", "credHelpers"):
        if not isinstance(config.get(key) or {}, dict):
            raise Refused(f"{path} is not docker's configuration: {key!r} is not an object")
    return config


def _host_of(key: str) -> str:
    """The host of a key: ``https://ghcr.io/v1/`` and ``ghcr.io`` are one registry, as for docker."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_entry(entry: Any) -> Credentials | None:
    if not isinstance(entry, dict):
        return None
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if auth := entry.get("auth"):
        try:
            decoded = base64.b64decode(str(auth), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return None
        username, _, password = decoded.rstrip("\0").partition(":")
    return Credentials(username, password) if username else None


def _from_helper(name: str, server: str, config: Path) -> Credentials | None:
    """What ``docker-credential-<name> get`` answers; a helper without credentials exits with 1."""
    program = f"docker-credential-{name}"
    try:
        answer = process.run([program, "get"], input=server, timeout=_HELPER_SECONDS)
        found = json.loads(answer.stdout)
        username, secret = str(found["Username"]), str(found["Secret"])
    except ProgramFailed as error:
        if error.returncode == _NOT_INSTALLED:
            raise Refused(f"{config} names {program}, which is not installed") from error
        if error.returncode == _HAS_NONE:
            return None
        # Its output may hold what it has read.
        raise Refused(
            f"{program}, which {config} names for {server}, failed or did not answer within "
            f"{_HELPER_SECONDS} seconds (exit code {error.returncode}): run `{program} list` to see why"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{program} did not return credentials for {server}") from error
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if username or secret else None


_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
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
    if helper := (config.get("credHelpers") or {}).get(key) or config.get("credsStore"):
        _store_in(f"docker-credential-{helper}", key, credentials)
        return f"docker-credential-{helper}"
    auth = credentials.basic.removeprefix("Basic ")
    config["auths"] = {**(config.get("auths") or {}), key: {"auth": auth}}
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
