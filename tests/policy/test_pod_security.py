"""The rule `pod-security` says of a pod what the admission of Kubernetes says.

`pod_security.json` has the answers of Kubernetes' own evaluator, `policy.NewEvaluator` of the Go module
k8s.io/pod-security-admission, level restricted, latest version. `GITOPS_ML_POD_SECURITY` names a program that reads one
pod a line and answers ``true`` or ``false``; with it, the answers are asked for again.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitops_ml.policy.pod_rules import POD_RULES
from tests.policy.subjects import plain, subject

ANSWERS = Path(__file__).with_name("pod_security.json")
PROGRAM = os.environ.get("GITOPS_ML_POD_SECURITY")
UPDATES = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
Edit = Callable[[Any], Any]
EDITS: dict[str, Edit] = {"as the chart renders it": lambda pod: None}
DIFFERENCES = {
    "a Windows pod": "The rule asks of every pod what Kubernetes asks of those of Linux; the chart renders no others.",
}


def main(pod: Any) -> Any:
    return pod["containers"][0]


def own(**fields: Any) -> Edit:
    return lambda pod: main(pod).setdefault("securityContext", {}).update(fields)


def of_pod(**fields: Any) -> Edit:
    return lambda pod: pod.setdefault("securityContext", {}).update(fields)


def both(name: str, **fields: Any) -> None:
    EDITS[f"{name} of the container"] = own(**fields)
    EDITS[f"{name} of the pod"] = of_pod(**fields)


def without(pod: Any, field: str) -> None:
    for part in (pod, *pod["containers"]):
        part["securityContext"].pop(field, None)


for field in ("hostNetwork", "hostPID", "hostIPC"):
    for value in (True, False):
        EDITS[f"{field} {value}"] = lambda pod, f=field, v=value: pod.update({f: v})
for value in (True, False, None):
    EDITS[f"privileged {value}"] = own(privileged=value)
    EDITS[f"allowPrivilegeEscalation {value}"] = own(allowPrivilegeEscalation=value)
    both(f"runAsNonRoot {value}", runAsNonRoot=value)
    EDITS[f"runAsNonRoot {value} of the pod alone"] = lambda pod, v=value: (
        main(pod)["securityContext"].pop("runAsNonRoot", None),
        pod["securityContext"].update(runAsNonRoot=v),
    )
for value in (0, 1, 10000):
    both(f"runAsUser {value}", runAsUser=value)
for value in ("Default", "Unmasked"):
    EDITS[f"procMount {value}"] = own(procMount=value)
for value in (
    None,
    {},
    {"drop": ["ALL"]},
    {"drop": ["all"]},
    {"drop": ["NET_RAW"]},
    *({"drop": ["ALL"], "add": [name]} for name in ("NET_BIND_SERVICE", "CHOWN", "NET_ADMIN")),
):
    EDITS[f"capabilities {value}"] = own(capabilities=value)
for value in ("RuntimeDefault", "Localhost", "Unconfined"):
    profile = {"type": value, **({"localhostProfile": "x"} if value == "Localhost" else {})}
    both(f"seccomp {value}", seccompProfile=profile)
    both(f"AppArmor {value}", appArmorProfile=profile)
EDITS["seccomp nowhere"] = lambda pod: without(pod, "seccompProfile")
EDITS["seccomp of the container alone"] = lambda pod: (
    without(pod, "seccompProfile"),
    [
        c["securityContext"].update(seccompProfile={"type": "RuntimeDefault"})
        for c in pod["containers"]
    ],
)
for value in (
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
    "spc_t",
):
    EDITS[f"SELinux type {value!r}"] = own(seLinuxOptions={"type": value})
for value in ("user", "role", "level"):
    both(f"SELinux {value}", seLinuxOptions={value: "s0"})
for value in (True, False):
    both(f"hostProcess {value}", windowsOptions={"hostProcess": value})
VOLUMES = {
    "hostPath": {"path": "/"},
    "emptyDir": {},
    "secret": {"secretName": "a"},
    "csi": {"driver": "x"},
    "configMap": {"name": "a"},
    "nfs": {"server": "a", "path": "/"},
    "ephemeral": {},
    "iscsi": {},
    "persistentVolumeClaim": {"claimName": "a"},
    "projected": {},
    "downwardAPI": {},
    "image": {"reference": "a"},
    "gitRepo": {"repository": "a"},
}
for field, fields in VOLUMES.items():
    EDITS[f"volume {field}"] = lambda pod, f=field, v=fields: pod.setdefault("volumes", []).append(
        {"name": "x", f: v}
    )
for value in (0, 80):
    EDITS[f"hostPort {value}"] = lambda pod, v=value: main(pod)["ports"][0].update(hostPort=v)
for value in (
    *("kernel.shm_rmid_forced", "kernel.msgmax", "net.core.somaxconn", "net.ipv4.ping_group_range"),
    *("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_rmem"),
    *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_wmem"),
    *(
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
    ),
    "net.ipv4.tcp_syncookies",
):
    EDITS[f"sysctl {value}"] = of_pod(sysctls=[{"name": value, "value": "1"}])
for field in ("livenessProbe", "readinessProbe", "startupProbe"):
    for host in ("10.0.0.1", "127.0.0.1", ""):
        for kind in ("httpGet", "tcpSocket"):
            EDITS[f"{field} {kind} of host {host!r}"] = lambda pod, f=field, k=kind, h=host: main(
                pod
            ).update({f: {k: {"host": h, "port": 1}}})
for field in ("postStart", "preStop"):
    EDITS[f"{field} of a host"] = lambda pod, f=field: main(pod).update(
        lifecycle={f: {"httpGet": {"host": "10.0.0.1", "port": 1}}}
    )
for field in ("initContainers", "ephemeralContainers"):
    EDITS[f"{field} without a context"] = lambda pod, f=field: pod.setdefault(f, []).append(
        {"name": "more", "image": "x"}
    )
EDITS["root with user namespaces"] = lambda pod: (
    pod.update(hostUsers=False),
    own(runAsUser=0, runAsNonRoot=False)(pod),
)
EDITS["a Windows pod"] = lambda pod: (
    pod.update(os={"name": "windows"}),
    main(pod)["securityContext"].pop("capabilities"),
    main(pod)["securityContext"].pop("allowPrivilegeEscalation"),
)


def edited(name: str) -> Any:
    """The Deployment with the edit in its pods."""
    found = next(item for item in plain().objects if item["kind"] == "Deployment")
    deployment = copy.deepcopy(dict(found))
    EDITS[name](deployment["spec"]["template"]["spec"])
    return deployment


def of_kubernetes() -> dict[str, bool]:
    if not PROGRAM:
        found: dict[str, bool] = json.loads(ANSWERS.read_text())
        return found
    templates = (edited(name)["spec"]["template"] for name in EDITS)
    pods = [json.dumps({"apiVersion": "v1", "kind": "Pod", **each}) for each in templates]
    done = subprocess.run([PROGRAM], input="\n".join(pods), text=True, stdout=-1, check=True)
    answers = [line.startswith("true") for line in done.stdout.splitlines()]
    asked = dict(zip(EDITS, answers, strict=True))
    if UPDATES:
        ANSWERS.write_text(json.dumps(asked, indent=1) + "\n")
    return asked


@pytest.fixture(scope="module")
def allowed() -> dict[str, bool]:
    return of_kubernetes()


def test_the_answers_are_those_of_these_pods(allowed: dict[str, bool]) -> None:
    assert list(allowed) == list(EDITS)
    assert 40 < sum(allowed.values()) < len(EDITS) - 40


def test_the_rule_agrees_with_the_admission_of_kubernetes(allowed: dict[str, bool]) -> None:
    rule = next(each for each in POD_RULES if each.id == "pod-security")
    differing = set()
    for name in EDITS:
        after = replace(plain(), objects=(edited(name),))
        if (not list(rule.check(subject(None, after)))) != allowed[name]:
            differing.add(name)
    assert differing == set(DIFFERENCES)
