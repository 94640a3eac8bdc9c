"""Connect to a cluster of the project file, by a context of the kubeconfig or from inside of a pod.

The program of a kubeconfig that gets credentials (`aws`, `gke-gcloud-auth-plugin`, `kubelogin`) is started here: the
kubernetes library would log its failure, go on without credentials and wait for it without end."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gitops_ml.errors import ProgramFailed, Refused, UsageError
from gitops_ml.http.json_reader import read_answer
from gitops_ml.project.project import ARGO_CDS_OWN, Project
from gitops_ml.system.clean_text import one_line
from gitops_ml.system.process import FIRST_IMPORT, absolute_path, run
from gitops_ml.system.project_files import LARGEST_SETTINGS, read_named

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration


_ODD = (ValueError, TypeError, AttributeError, KeyError)
"""What a kubeconfig of another shape, or an address in it that is none, leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRef:
    """A cluster in the project file."""

    name: str
    """For messages: ``the cluster main``."""
    key: str
    """The key of the project file that selects its context: ``clusters.main.context``."""
    context: str | None
    server: str | None
    is_only: bool
    """Whether it is the project's only cluster, so that the current context may be used."""


def wanted_cluster(project: Project, name: str) -> ClusterRef:
    """The project's cluster ``name``."""
    spec = project.clusters[name]
    return ClusterRef(
        name=f"the cluster {name}",
        key=f"clusters.{name}.context",
        context=spec.context,
        server=spec.server,
        is_only=_has_one_cluster(project),
    )


def wanted_argo_cd(project: Project) -> ClusterRef:
    """The cluster of Argo CD: the named one, the one with Argo CD's own address, or the only one."""
    named = project.gitops.argocd_context if project.gitops is not None else None
    own = [spec.context for spec in project.clusters.values() if spec.server == ARGO_CDS_OWN]
    return ClusterRef(
        name="the cluster of Argo CD",
        context=named or (own[0] if own else None),
        server=None,
        is_only=_has_one_cluster(project) and bool(own),
        key="gitops.argocd_context",
    )


def _has_one_cluster(project: Project) -> bool:
    return len({spec.server for spec in project.clusters.values()}) == 1


def connect(wanted: ClusterRef, *, environ: Mapping[str, str]) -> tuple[ApiClient, str]:
    """A client for the cluster, and the name of the connection in messages.

    Raises:
        UsageError: there is no kubeconfig, no such context, or more than one candidate.
    """
    files = kubeconfig_files(environ)
    _import_without_validation()
    if not files:
        return _in_cluster(wanted, environ), "the cluster that this runs in"
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    path = os.pathsep.join(map(str, files))
    try:
        merged = _merged(files)
        context = choose_context(merged, wanted)
        if (own := _with_credentials(merged, context, wanted, environ)) is not None:
            client = config.new_client_from_config_dict(
                own, context=context, client_configuration=_settings()
            )
        else:
            client = config.new_client_from_config(
                config_file=path, context=context, client_configuration=_settings()
            )
        _check_token(client.configuration)
    except ImportError as error:
        raise UsageError(
            f"{path}: a SOCKS proxy needs the package pysocks: pip install pysocks"
        ) from error
    except (ConfigException, yaml.YAMLError, *_ODD) as error:
        raise UsageError(f"{path}: {error}") from error
    return client, f"the context {context!r}"


def _check_token(settings: Configuration) -> None:
    """Refuse a token that no header can have: the error of the HTTP library would show it."""
    # `ApiServer` connects again when the token is refused.
    settings.refresh_api_key_hook = None
    if token := settings.api_key.get("BearerToken"):
        settings.api_key["BearerToken"] = token = token.strip()
        if not re.fullmatch(r"[A-Z][a-z]+ [!-~]+", token):
            raise ValueError("the token of the user has a character that no token can have")


def _with_credentials(
    merged: dict[str, Any], context: str, wanted: ClusterRef, environ: Mapping[str, str]
) -> dict[str, Any] | None:
    """The kubeconfig with what the user's program brings; ``None`` where the user has no program."""
    chosen = _named(merged, "context", context)
    user, cluster = (_named(merged, kind, chosen.get(kind)) for kind in ("user", "cluster"))
    if not isinstance(plugin := user.get("exec"), dict):
        return None
    found = credentials_of(plugin, cluster, name=wanted.name, environ=environ)
    return {**merged, "users": [{"name": chosen["user"], "user": found}]}


def _named(merged: Mapping[str, Any], kind: str, name: object) -> dict[str, Any]:
    """The first entry of this name, as in kubectl; empty where there is none."""
    entries = merged.get(f"{kind}s") or ()
    return next((each.get(kind) or {} for each in entries if each.get("name") == name), {})


def _import_without_validation() -> None:
    """Import kubernetes without the library kubernetes_validate, which it imports where it is installed.

    Nothing here validates objects, and with all formats of jsonschema that import takes a second.
    """
    name = "kubernetes_validate"
    with FIRST_IMPORT:
        if name in sys.modules:
            return
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's way to say that it is not there
        try:
            importlib.import_module("kubernetes")
        finally:
            del sys.modules[name]


def kubeconfig_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The existing files of ``KUBECONFIG``, or the default file."""
    named = environ.get("KUBECONFIG") or str(Path(environ.get("HOME", "~")) / ".kube" / "config")
    paths = (Path(name).expanduser() for name in named.split(os.pathsep) if name)
    return tuple(path for path in paths if path.is_file())


def _merged(files: Iterable[Path]) -> dict[str, Any]:
    """The files merged; of two entries with one name the first wins, as in kubectl."""
    merged: dict[str, Any] = {}
    for file in files:
        content = yaml.safe_load(read_named(file, limit=LARGEST_SETTINGS))
        for key, value in (content if isinstance(content, dict) else {}).items():
            if isinstance(value, list):
                merged.setdefault(key, []).extend(_placed(each, file.parent) for each in value)
            else:
                merged[key] = merged.get(key) or value
    return merged


def _placed(entry: Any, folder: Path) -> Any:
    """A cluster, user or context with absolute paths: relative ones begin at the folder of their file."""
    match entry:
        case {"cluster": {"certificate-authority": file, **rest}} if file:
            return {**entry, "cluster": {**rest, "certificate-authority": str(folder / file)}}
        case {"user": {"exec": {"command": str(command), **rest}}} if os.sep in command:
            return {**entry, "user": {"exec": {**rest, "command": str(folder / command)}}}
    return entry


def choose_context(kubeconfig: Mapping[str, Any], wanted: ClusterRef) -> str:
    """The context that the project file names, the one with its server, or the current one.

    It never guesses between several clusters, since an answer about the wrong one is wrong.
    """
    contexts = _contexts(kubeconfig)
    known = ", ".join(sorted(contexts)) or "none"
    if wanted.context is not None:
        if wanted.context not in contexts:
            raise UsageError(
                f"{wanted.key}: the kubeconfig has no context {wanted.context!r}; it has: {known}"
            )
        return wanted.context
    current = kubeconfig.get("current-context") or ""
    if wanted.server and wanted.server != ARGO_CDS_OWN:
        same = [name for name, server in contexts.items() if server == wanted.server.rstrip("/")]
        if same:
            return current if current in same else same[0]
    if wanted.is_only and current in contexts:
        return current
    raise UsageError(
        f"{wanted.name}: the context is not clear: set {wanted.key} in gitops-ml.yaml to one of the "
        f"kubeconfig ({known})"
        if contexts
        else f"{wanted.name}: the kubeconfig has no context"
    )


def _contexts(kubeconfig: Mapping[str, Any]) -> dict[str, str]:
    """The address of the API server by context; of two entries with one name the first counts."""
    servers = {
        each["name"]: (each.get("cluster") or {}).get("server", "").rstrip("/")
        for each in reversed(kubeconfig.get("clusters") or ())
    }
    return {
        each["name"]: servers.get((each.get("context") or {}).get("cluster"), "")
        for each in reversed(kubeconfig.get("contexts") or ())
    }


def _in_cluster(wanted: ClusterRef, environ: Mapping[str, str]) -> ApiClient:
    if not environ.get("KUBERNETES_SERVICE_HOST"):
        raise UsageError(
            f"{wanted.name}: there is no kubeconfig: set KUBECONFIG or create ~/.kube/config, "
            "so that `kubectl get pods` works"
        )
    if not wanted.is_only and wanted.server not in (None, ARGO_CDS_OWN):
        raise UsageError(
            f"{wanted.name} is not the cluster that this runs in, and there is no kubeconfig: "
            "set KUBECONFIG"
        )
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    settings = _settings()
    try:
        config.load_incluster_config(client_configuration=settings)
    except ConfigException as error:
        raise UsageError(
            f"{wanted.name}: this pod has no token for the API server ({error}); give it a service "
            "account, or set KUBECONFIG"
        ) from error
    return client.ApiClient(settings)


def _settings() -> Configuration:
    """One retry in place of the library's three, since a person waits for the answer."""
    from kubernetes.client import Configuration

    return Configuration(retries=1)


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
    """The user that an ExecCredential describes."""
    found = read_answer(answer)
    status = found.get("status") if isinstance(found, dict) else None
    match status:
        case {"token": str(token)} if token.strip():
            return {"token": token}
        case {"clientCertificateData": str(certificate), "clientKeyData": str(key)}:
            texts = {"client-certificate-data": certificate, "client-key-data": key}
            return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    raise ValueError("it brought neither a token nor a certificate with its key")
