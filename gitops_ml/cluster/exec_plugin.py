"""Run the program of a kubeconfig that gets credentials (`aws`, `gke-gcloud-auth-plugin`, `kubelogin`).

The kubernetes library would log its failure, go on without credentials and wait for it without end.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops_ml.errors import ProgramFailed, Refused
from gitops_ml.http.json_reader import read_answer
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.process import absolute_path, run

_SECONDS = 60.0
_SECONDS_WITH_A_PERSON = 600.0
"""A person may have to log in with a browser."""
_CONFIGURATION = "client.authentication.k8s.io/exec"
"""The extension of a cluster that is for the program."""
_CLUSTER_KEYS = (
    "server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url",
)  # fmt: skip


def credentials_of(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, name: str, environ: Mapping[str, str]
) -> dict[str, str]:
    """What the program brings, as a user of a kubeconfig: a token, or a certificate and its key.

    Raises:
        Refused: it is not installed, failed, took too long, or brought nothing.
    """
    command = [str(plugin.get("command") or ""), *map(str, plugin.get("args") or ())]
    asks = plugin.get("interactiveMode") != "Never" and _has_terminal()
    extra = {str(each["name"]): str(each["value"]) for each in plugin.get("env") or ()}
    info = {"KUBERNETES_EXEC_INFO": json.dumps(_exec_info(plugin, cluster, asks=asks))}
    try:
        answer = run(
            command, environ={**environ, "PATH": absolute_path(environ), **extra, **info},
            timeout=_SECONDS_WITH_A_PERSON if asks else _SECONDS, asks=asks,
        ).stdout  # fmt: skip
        return _user_of(answer)
    except (ProgramFailed, ValueError) as error:
        why = _reason(error) or "it printed no reason"
        hint = one_line(str(plugin.get("installHint") or ""), most=300)
        raise Refused(
            f"{name}: `{one_line(' '.join(command[:3]), most=200)}` of the kubeconfig, which gets the "
            f"credentials, failed: {why}. {hint or 'Log in again, until `kubectl get pods` works'}"
        ) from error


def _reason(error: Exception) -> str:
    text = error.stderr if isinstance(error, ProgramFailed) else str(error)
    return one_line(text, most=1000).rstrip(".")


def _has_terminal() -> bool:
    streams = (sys.stdin, sys.stderr)
    return all(each is not None and each.isatty() for each in streams)


def _exec_info(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, asks: bool
) -> dict[str, Any]:
    """The value of KUBERNETES_EXEC_INFO, as kubectl sets it."""
    spec: dict[str, Any] = {"interactive": asks}
    if plugin.get("provideClusterInfo"):
        given = {key: cluster[key] for key in _CLUSTER_KEYS if key in cluster}
        if file := cluster.get("certificate-authority"):
            data = base64.b64encode(Path(file).read_bytes()).decode()
            given.setdefault("certificate-authority-data", data)
        for each in cluster.get("extensions") or ():
            if each.get("name") == _CONFIGURATION:
                given["config"] = each.get("extension")
        spec["cluster"] = given
    return {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}


def _user_of(answer: bytes) -> dict[str, str]:
    """The user that an ExecCredential describes.

    Raises:
        ValueError: it has neither a token nor a certificate.
    """
    found = read_answer(answer)
    status = found.get("status") if isinstance(found, dict) else None
    match status:
        case {"token": str(token)} if token.strip():
            return {"token": token}
        case {"clientCertificateData": str(certificate), "clientKeyData": str(key)}:
            texts = {"client-certificate-data": certificate, "client-key-data": key}
            return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    raise ValueError("it brought neither a token nor a certificate with its key")
