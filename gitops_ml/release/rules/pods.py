"""Rules about the pod: variables, secrets, probes, labels, networking, volumes, host aliases, and the proxy."""

from __future__ import annotations

import ipaddress
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from gitops_ml.documents.findings import Finding, Path, error, warning
from gitops_ml.project.project import ClusterSpec, EnvironmentSpec, ImageSettings
from gitops_ml.release.proxy import CONTAINER
from gitops_ml.release.spec import ContainerSpec, ReleaseSpec, Sidecar
from gitops_ml.system.secret_scan import (
    could_be_secret,
    has_secret_shape,
    looks_random,
    names_a_secret,
)

_RESERVED_ENV = ("CORTEX_", "KUBEXIT_", "PREDICTOR_CONFIG", "GITOPS_ML_")
RESERVED_LABELS = ("app.kubernetes.io/", "helm.sh/", "gitops-ml.dev/", "argocd.argoproj.io/")
_OUR_CONTAINERS = frozenset({"predictor", "tensorflow-serving"})
_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")
_DEFAULT_TIMEOUT = 60
_LONGEST_TEXT = 1 << 17
"""MAX_ARG_STRLEN of Linux, with the byte that ends the text."""


def pod_findings(
    spec: ReleaseSpec, cluster: ClusterSpec, environment: EnvironmentSpec
) -> Iterator[Finding]:
    yield from _environment_variables(spec)
    for path, text in _process_texts(spec):
        if "\0" in text:
            message = "a NUL byte ends a text of the operating system; remove it"
            yield error(path, message, rule="text")
        # The name of a variable and an equals sign are part of its text.
        if (size := len(text.encode()) + len(str(path[-1])) + 2) > _LONGEST_TEXT:
            message = (
                f"Linux starts no process with a text of more than {_LONGEST_TEXT:,} bytes, and this has "
                f"{size:,}: put it into a file of the image"
            )
            yield error(path, message, rule="text")
    yield from _secrets(spec, cluster)
    if spec.container is not None:
        yield from _container(spec.container, environment)
        if spec.monitoring is not None:
            message = "predictions of a ready-made container cannot be monitored; remove it"
            yield error(("monitoring",), message, rule="monitoring")
    for section, labels in (("labels", spec.labels), ("pod_labels", spec.pod_labels)):
        for key in labels:
            if key.startswith(RESERVED_LABELS):
                yield error((section, key), "gitops-ml sets this label; remove it", rule="labels")
    yield from volume_findings(spec)
    yield from _prediction_log(spec)
    yield from _networking(spec, cluster)


def _environment_variables(spec: ReleaseSpec) -> Iterator[Finding]:
    taken = {secret.env for secret in spec.secrets}
    for at, variables in _variables(spec):
        for name, value in variables.items():
            if name.startswith(_RESERVED_ENV):
                prefix = next(each for each in _RESERVED_ENV if name.startswith(each))
                yield error((*at, name), f"names that begin with {prefix} are reserved", rule="env")
            if name in taken:
                yield error((*at, name), f"{name} is in `secrets` too; keep one", rule="env")
            yield from _secret_value((*at, name), name, value)
    if spec.predictor is not None:
        yield from _secrets_in_config(spec.predictor.config, ("predictor", "config"))


def _variables(spec: ReleaseSpec) -> Iterator[tuple[Path, Mapping[str, str]]]:
    if spec.predictor is not None:
        yield ("predictor", "env"), spec.predictor.env
    if spec.container is not None:
        for at, container in spec.container.containers():
            yield (*at, "env"), container.env


def _process_texts(spec: ReleaseSpec) -> Iterator[tuple[Path, str]]:
    """The texts that a process of the pod gets from Kubernetes: variables, commands and arguments."""
    for at, variables in _variables(spec):
        yield from (((*at, name), value) for name, value in variables.items())
    if spec.container is None:
        return
    for at, container in spec.container.containers():
        commands: dict[Path, Any] = {("command",): container.command, ("args",): container.args}
        for field in ("readiness_probe", "liveness_probe", "pre_stop"):
            handler = getattr(container, field, None) or {}
            commands[(field, "exec", "command")] = handler.get("exec", {}).get("command", ())
        for path, words in commands.items():
            yield from (((*at, *path, index), word) for index, word in enumerate(words))


def _secret_value(path: Path, name: str, value: str) -> Iterator[Finding]:
    """Find secrets in values: a token in Git stays in its history and must be revoked."""
    hint = "store it in a Secret and refer to it in `secrets`"
    if has_secret_shape(value):
        yield error(path, f"this looks like a secret; {hint}", rule="secret")
    elif names_a_secret(name) and could_be_secret(value):
        yield warning(path, f"is this a secret? If so, {hint}", rule="secret")
    elif looks_random(value):
        yield warning(path, f"is this a key or a token? If so, {hint}", rule="secret")


def _secrets_in_config(value: Any, path: Path) -> Iterator[Finding]:
    if isinstance(value, str):
        if has_secret_shape(value):
            message = (
                "this looks like a secret; pass it as an environment variable through `secrets`"
            )
            yield error(path, message, rule="secret")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets_in_config(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _secrets_in_config(inner, (*path, index))


def _secrets(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    counts = Counter(secret.env for secret in spec.secrets)
    stores: dict[str, tuple[Any, ...] | None] = {}
    for index, secret in enumerate(spec.secrets):
        at: Path = ("secrets", index)
        if counts[secret.env] > 1:
            yield error((*at, "env"), f"{secret.env} is in the list twice", rule="secrets")
        if secret.env.startswith(_RESERVED_ENV):
            yield error((*at, "env"), f"{secret.env} is a reserved name", rule="env")
        remote = secret.remote
        store = (remote["store"], remote["store_kind"]) if remote else None
        if stores.setdefault(secret.name, store) != store:
            message = f"the keys of Secret {secret.name!r} come from different places"
            yield error((*at, "name"), message, rule="secrets")
        if remote and not cluster.external_secrets:
            message = (
                f"cluster {cluster.name!r} does not have the External Secrets operator; install it and set "
                "external_secrets: true in the project file"
            )
            yield error((*at, "remote"), message, rule="secrets")


def _container(container: ContainerSpec, environment: EnvironmentSpec) -> Iterator[Finding]:
    if container.in_flight_metric is not None and container.metrics_path is None:
        at: Path = ("container", "in_flight_metric")
        yield error(at, "it also needs 'metrics_path'", rule="container")
    names = Counter(sidecar.name for sidecar in container.sidecars)
    for at, each in container.containers():
        name = getattr(each, "name", "")
        if names[name] > 1 or name in _OUR_CONTAINERS:
            message = f"another container of the pod is called {name!r}"
            yield error((*at, "name"), message, rule="container")
        yield from _probes(each, at)
        if environment.protected and "@sha256:" not in each.image:
            message = (
                f"{environment.name} is protected, and a tag can move; name the image by digest"
            )
            yield warning((*at, "image"), message, rule="pinned")


def _probes(container: ContainerSpec | Sidecar, at: Path) -> Iterator[Finding]:
    for name in ("readiness_probe", "liveness_probe"):
        if (probe := getattr(container, name)) is None:
            continue
        handlers = [key for key in _HANDLERS if key in probe]
        if len(handlers) != 1:
            found = f"it has {' and '.join(handlers)}" if handlers else "it has none"
            message = f"exactly one of {', '.join(_HANDLERS)} is needed; {found}"
            yield error((*at, name), message, rule="probes")
    if (container.liveness_probe or {}).get("successThreshold", 1) != 1:
        place = (*at, "liveness_probe", "successThreshold")
        yield error(place, "Kubernetes allows 1 only", rule="probes")
    if container.pre_stop is not None and len(container.pre_stop) != 1:
        message = "exactly one of httpGet, exec and sleep is needed"
        yield error((*at, "pre_stop"), message, rule="probes")


def _prediction_log(spec: ReleaseSpec) -> Iterator[Finding]:
    log = spec.predictor.prediction_log if spec.predictor is not None else None
    if not log:
        return
    for sink, key in (("http", "url"), ("file", "path")):
        if log.get("sink") == sink and not log.get(key):
            message = f"sink: {sink} needs {key!r}"
            yield error(("predictor", "prediction_log"), message, rule="prediction_log")


def _networking(spec: ReleaseSpec, cluster: ClusterSpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.networking.hosts):
        if _is_address(host):
            message = f"{host} is an address, and a gateway routes by name"
            yield error(("networking", "hosts", index), message, rule="networking")
    if spec.networking.hosts and cluster.gateway is None:
        message = (
            f"cluster {cluster.name!r} has no gateway in the project file, so no requests arrive"
        )
        yield warning(("networking", "hosts"), message, rule="networking")
    timeout, grace = spec.networking.timeout, spec.probes.grace
    if timeout <= 0:
        yield error(("networking", "timeout"), "it must be more than 0s", rule="networking")
    elif timeout > grace and timeout > _DEFAULT_TIMEOUT:
        message = (
            f"requests may take {timeout:g} seconds, but a stopping replica waits {grace:g} seconds "
            "for them; set probes.grace to at least as much"
        )
        yield warning(("networking", "timeout"), message, rule="networking")


_TAKEN = (
    *("/app", "/etc/predictor", "/mnt", "/models", "/opt/runtime", "/opt/venv"),
    *("/dev/shm", "/tmp"),  # noqa: S108 - folders of the container
)
"""Folders of the chart and of our images; a volume there, or on a folder above, would hide them."""
_SYSTEM = ("/dev", "/etc", "/proc", "/sys", "/usr", "/bin", "/lib", "/var/run/secrets")


def volume_findings(spec: ReleaseSpec) -> Iterator[Finding]:
    """Errors in ``volumes`` and ``host_aliases``."""
    names: set[str] = set()
    paths: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        at: Path = ("volumes", index)
        if volume.name in names:
            yield error((*at, "name"), f"{volume.name} is in the list twice", rule="volumes")
        path = posixpath.normpath(volume.path)
        if path in paths:
            yield error((*at, "path"), f"another volume is at {path}", rule="volumes")
        elif place := _hidden_by(path):
            message = f"a volume at {path} would hide {place} of the container; choose another path"
            yield error((*at, "path"), message, rule="volumes")
        names.add(volume.name)
        paths.add(path)
    for index, alias in enumerate(spec.host_aliases):
        if not _is_address(alias.ip):
            message = f"{alias.ip!r} is not an IP address such as 10.0.0.1 or fd00::1"
            yield error(("host_aliases", index, "ip"), message, rule="host_aliases")


def _is_address(text: str) -> bool:
    """Whether Kubernetes reads it as an address: without a zone, and not an IPv4 address in the form of IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text and getattr(address, "ipv4_mapped", None) is None


def _hidden_by(path: str) -> str | None:
    """A folder that the container needs and would not have with a volume at ``path``."""
    for place in _TAKEN:
        if place == path or place.startswith(f"{path.rstrip('/')}/"):
            return place
    return next((each for each in _SYSTEM if f"{path}/".startswith(f"{each}/")), None)


_error = partial(error, rule="proxy")
_warning = partial(warning, rule="proxy")
_AT: Path = ("container", "proxy")


def proxy_findings(spec: ReleaseSpec, images: ImageSettings | None) -> Iterator[Finding]:
    """What cannot be beside the proxy, and what it needs."""
    container = spec.container
    if container is None or container.proxy is None:
        return
    if container.in_flight_metric is not None:
        message = (
            "the container counts its requests itself (in_flight_metric); remove one of the two"
        )
        yield _error(_AT, message)
    for index, sidecar in enumerate(container.sidecars):
        if sidecar.name == CONTAINER:
            message = f"another container of the pod is called {CONTAINER!r}"
            yield _error(("container", "sidecars", index, "name"), message)
    yield from _of_variables(spec)
    yield from _of_grpc(container)
    if container.pre_stop is not None and "sleep" not in container.pre_stop:
        message = (
            "behind a proxy Kubernetes runs it as soon as the pod is deleted, while the proxy still "
            "forwards requests: it must not stop the container, which gets SIGTERM after the last one"
        )
        yield _warning(("container", "pre_stop"), message)
    if images is not None and images.repository is None:
        message = (
            "gitops-ml builds an image for the proxy, and it needs a registry to push it to: set "
            "image.repository in the project file"
        )
        yield _warning(_AT, message)


def _of_variables(spec: ReleaseSpec) -> Iterator[Finding]:
    """KEDA reads variables of the proxy only: it finds no container that is a sidecar."""
    for index, trigger in enumerate(spec.autoscaling.triggers):
        for key in trigger.metadata:
            if key.endswith("FromEnv"):
                message = (
                    "KEDA does not find the variables of a container behind a proxy; write the "
                    f"value ({key.removesuffix('FromEnv')}), or use authentication"
                )
                yield _error(("autoscaling", "triggers", index, "metadata", key), message)


def _of_grpc(container: ContainerSpec) -> Iterator[Finding]:
    """A port that answers Kubernetes' gRPC probe speaks HTTP/2."""
    for name in ("readiness_probe", "liveness_probe"):
        probe = getattr(container, name) or {}
        if probe.get("grpc", {}).get("port") == container.port:
            message = (
                f"port {container.port} speaks gRPC, and the proxy does not forward HTTP/2: remove "
                "max_concurrency, max_queue_length, target_in_flight and proxy, and scale on a trigger "
                "of type cpu or on a gauge of the container (in_flight_metric)"
            )
            yield _error(("container", name, "grpc"), message)
            return
