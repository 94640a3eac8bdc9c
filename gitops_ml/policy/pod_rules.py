"""The pods among the rendered objects of a release: their fields in the manifest, and the rules about them.

Those of `pod-security` are Kubernetes' Pod Security Standard "restricted",
https://kubernetes.io/docs/concepts/security/pod-security-standards/: the controls of the level "baseline", then
those that "restricted" adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_ml.documents.findings import Path
from gitops_ml.documents.plain_data import within
from gitops_ml.documents.quantities import parse_quantity
from gitops_ml.policy.rule import Breach, Rule, Side, Subject, of_after
from gitops_ml.release.proxy import CONTAINER as QUEUE_PROXY

_POD_FIELD = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
MAIN = "predictor"
"""The container of the API."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod or the template of pods."""

    kind: str
    name: str
    spec: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """Those that serve, and those that run before or beside them."""
        lists = (self.spec.get(name) for name in _CONTAINERS)
        return tuple(each for found in lists for each in found or () if isinstance(each, dict))


def pods_of(objects: Iterable[Mapping[str, Any]]) -> Iterator[Pod]:
    for item in objects:
        path = _POD_FIELD.get(str(item.get("kind")))
        if path is None:
            continue
        name = str(within(item, "metadata").get("name", ""))
        yield Pod(str(item["kind"]), name, within(item, *path, "spec"))


def serving_pod(side: Side) -> Pod:
    """The pods of the Deployment; one without containers where nothing was rendered."""
    found = (pod for pod in pods_of(side.objects) if pod.kind == "Deployment")
    return next(found, Pod("Deployment", "", {}))


def of_kind(side: Side, kind: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(item for item in side.objects if item.get("kind") == kind)


def place(side: Side, container: str, *fields: str) -> Path:
    """The field of the manifest that a field of a container comes from."""
    own = side.spec.container
    if own is None:
        return ("predictor",) if container in (MAIN, "tensorflow-serving") else ()
    if container == QUEUE_PROXY:
        return ("container", "proxy")
    for index, sidecar in enumerate(own.sidecars):
        if sidecar.name == container:
            return ("container", "sidecars", index, *fields)
    return ("container", *fields)


_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip
_IPV4 = (
    "ip_local_port_range", "ip_local_reserved_ports", "ip_unprivileged_port_start", "ping_group_range",
    "tcp_fin_timeout", "tcp_keepalive_intvl", "tcp_keepalive_probes", "tcp_keepalive_time", "tcp_rmem",
    "tcp_syncookies", "tcp_wmem",
)  # fmt: skip
_SYSCTLS = frozenset({"kernel.shm_rmid_forced", *(f"net.ipv4.{name}" for name in _IPV4)})
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SECCOMP = ("RuntimeDefault", "Localhost")
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@of_after
def _restricted(subject: Subject, side: Side) -> Iterator[Breach]:
    for pod in pods_of(side.objects):
        for message in _pod(pod):
            yield Breach((), f"{pod}: {message}")
        for container in pod.containers:
            name = str(container.get("name", ""))
            for message in (*_baseline(container), *_container(container, pod)):
                yield Breach(place(side, name), f"{pod}: container {name}: {message}")


def _pod(pod: Pod) -> Iterator[str]:
    for field in _HOST_NAMESPACES:
        if pod.spec.get(field):
            yield f"{field} shares a namespace with the node"
    for volume in pod.spec.get("volumes") or ():
        for kind in sorted(volume.keys() - {"name"} - _VOLUMES):
            yield f"volume {volume.get('name')} is of type {kind}"
    context = within(pod.spec, "securityContext")
    for sysctl in context.get("sysctls") or ():
        if sysctl.get("name") not in _SYSCTLS:
            yield f"sysctl {sysctl.get('name')} is not a safe one"
    if pod.spec.get("hostUsers") is not False:
        if context.get("runAsUser") == 0:
            yield "runAsUser is 0"
        if context.get("runAsNonRoot") is False:
            yield "runAsNonRoot is false"
    yield from _shared(context)


def _shared(context: Mapping[str, Any]) -> Iterator[str]:
    """What pods and containers both can set."""
    if within(context, "windowsOptions").get("hostProcess"):
        yield "windowsOptions.hostProcess gives access to the node"
    selinux = within(context, "seLinuxOptions")
    if selinux.get("type", "") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions changes the user, the role or the type"
    if within(context, "appArmorProfile").get("type", "RuntimeDefault") == "Unconfined":
        yield "appArmorProfile is Unconfined"
    if within(context, "seccompProfile").get("type", "RuntimeDefault") not in _SECCOMP:
        yield "seccompProfile is neither RuntimeDefault nor Localhost"


def _baseline(container: Mapping[str, Any]) -> Iterator[str]:
    context = within(container, "securityContext")
    if context.get("privileged"):
        yield "it is privileged"
    added = within(context, "capabilities").get("add") or ()
    if more := [name for name in added if name != "NET_BIND_SERVICE"]:
        yield f"it adds the capabilities {', '.join(map(str, more))}"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "a hostPort takes a port of the node"
    if context.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    handlers = [within(container, name) for name in _PROBES]
    handlers += [within(container, "lifecycle", name) for name in ("postStart", "preStop")]
    for handler in handlers:
        if any(within(handler, kind).get("host") for kind in ("httpGet", "tcpSocket")):
            yield "a probe or a hook names a host"
    yield from _shared(context)


def _container(container: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """What "restricted" adds; a container inherits what only its pod sets."""
    own, inherited = (within(each, "securityContext") for each in (container, pod.spec))
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in (within(own, "capabilities").get("drop") or ()):
        yield "it does not drop all capabilities"
    # With user namespaces of its own, root of the pod has no rights on the node.
    if pod.spec.get("hostUsers") is not False:
        is_unset = own.get("runAsNonRoot") is None
        if (inherited if is_unset else own).get("runAsNonRoot") is not True:
            yield "runAsNonRoot is not true"
        if own.get("runAsUser") == 0:
            yield "runAsUser is 0"
    if not (within(own, "seccompProfile") or within(inherited, "seccompProfile")):
        yield "no seccompProfile is set"


_MOST_OVER = 4


@of_after
def _bounds(subject: Subject, side: Side) -> Iterator[Breach]:
    for pod in pods_of(side.objects):
        for container in pod.containers:
            name, given = str(container.get("name", "")), within(container, "resources")
            requests = within(given, "requests")
            missing = [f"request of {key}" for key in ("cpu", "memory") if key not in requests]
            missing += [] if "memory" in within(given, "limits") else ["limit of memory"]
            if missing:
                message = f"{pod}: container {name} has no {', no '.join(missing)}"
                yield Breach(place(side, name), message)


@of_after
def _overcommitted(subject: Subject, side: Side) -> Iterator[Breach]:
    compute = side.spec.compute
    if compute.mem_limit is None:
        return
    ratio = parse_quantity(compute.mem_limit) / parse_quantity(compute.mem)
    if ratio > _MOST_OVER:
        message = (
            f"the limit {compute.mem_limit} is {float(ratio):.3g} times the request {compute.mem}"
        )
        yield Breach(("compute", "mem_limit"), message)


POD_RULES = (
    Rule(
        id="pod-security",
        title="Pods meet the Pod Security Standard restricted",
        severity="error",
        reason="A container that is broken into must not reach its node; namespaces that enforce it refuse the pods.",
        remedy="use the security context of the base chart; it meets the standard",
        check=_restricted,
    ),
    Rule(
        id="resource-bounds",
        title="Each container requests CPU and memory, and has a limit of memory",
        severity="error",
        reason="Without requests nodes are overfilled; without a limit of memory one replica evicts its neighbours.",
        remedy="set `compute.cpu` and `compute.mem`, and `cpu` and `mem` of each sidecar",
        check=_bounds,
    ),
    Rule(
        id="memory-overcommit",
        title="The limit of memory is at most four times the request",
        severity="warning",
        reason="A node reserves the request only: replicas that use their limit make it evict pods.",
        remedy="raise `compute.mem`, or lower `compute.mem_limit`",
        check=_overcommitted,
    ),
)
