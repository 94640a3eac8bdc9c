"""Kubernetes' Pod Security Standard "restricted", on the rendered objects.

https://kubernetes.io/docs/concepts/security/pod-security-standards/: the controls of the level "baseline", then
those that "restricted" adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitops_ml.documents.plain_data import within
from gitops_ml.policy.pod_rules import Pod, place, pods_of
from gitops_ml.policy.rule import Breach, Rule, Subject

_VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
_SYSCTLS = frozenset(
    {
        *(
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_local_reserved_ports",
        ),
        *(
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ping_group_range",
            "net.ipv4.tcp_fin_timeout",
        ),
        *(
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "net.ipv4.tcp_keepalive_time",
        ),
        *("net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"),
    }
)
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SECCOMP = ("RuntimeDefault", "Localhost")
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def _restricted(subject: Subject) -> Iterator[Breach]:
    side = subject.after
    for pod in pods_of(side.objects) if side else ():
        for message in _pod(pod):
            yield Breach((), f"{pod}: {message}")
        for container in pod.containers:
            name = str(container.get("name", ""))
            for message in (*_baseline(container), *_container(container, pod)):
                assert side is not None
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
    hooks = within(container, "lifecycle")
    handlers = [within(container, name) for name in _PROBES]
    handlers += [within(hooks, name) for name in ("postStart", "preStop")]
    for handler in handlers:
        if any(within(handler, kind).get("host") for kind in ("httpGet", "tcpSocket")):
            yield "a probe or a hook names a host"
    yield from _shared(context)


def _container(container: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """What "restricted" adds; a container inherits what only its pod sets."""
    own, inherited = (
        within(container, "securityContext"),
        within(pod.spec, "securityContext"),
    )
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


POD_SECURITY_RULES = (
    Rule(
        id="pod-security",
        title="Pods meet the Pod Security Standard restricted",
        severity="error",
        reason="A container that is broken into must not reach its node; namespaces that enforce it refuse the pods.",
        remedy="use the security context of the base chart; it meets the standard",
        check=_restricted,
    ),
)
