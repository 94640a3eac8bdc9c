"""The rules find on rendered objects what checkov and kube-score find, or the difference has a reason.

checkov runs here. kube-score is a Go program, and `kube_score.json` has what it found in the same objects;
`GITOPS_ML_KUBE_SCORE` names the program to ask it again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy.subjects import broken, side, subject
from tests.policy.test_rules import TWO, ready_made
from tests.support.pipeline import api

RECORDED = Path(__file__).with_name("kube_score.json")
KUBE_SCORE = os.environ.get("GITOPS_ML_KUBE_SCORE")
CHECKOV = os.environ.get("GITOPS_ML_CHECKOV") or shutil.which("checkov")
UPDATES = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
LIVE = {"tcpSocket": {"port": 8080}}
PROBE = {"httpGet": {"path": "/health", "port": 8080}}


def pod(objects: Any) -> Any:
    return objects["Deployment"]["spec"]["template"]["spec"]


def main(objects: Any) -> Any:
    return pod(objects)["containers"][0]


def secured(**fields: Any) -> Any:
    return lambda o: main(o)["securityContext"].update(fields)


PLAIN = "as the chart renders it"
CASES: dict[str, tuple[str, Any, Any, set[str], set[str]]] = {
    # what: rule, manifest, edit of the objects, checks of checkov, checks of kube-score
    PLAIN: ("", TWO, None, set(), set()),
    "privileged": ("pod-security", TWO, secured(privileged=True), {"CKV_K8S_16"}, set()),
    "escalation": (
        *("pod-security", TWO, secured(allowPrivilegeEscalation=True)),
        *({"CKV_K8S_20"}, set()),
    ),
    "root": (
        *("pod-security", TWO, secured(runAsUser=0, runAsNonRoot=False)),
        *({"CKV_K8S_23", "CKV_K8S_40"}, {"container-security-context-user-group-id"}),
    ),
    "capabilities": ("pod-security", TWO, secured(capabilities={}), {"CKV_K8S_37"}, set()),
    "seccomp": (
        *("pod-security", TWO, secured(seccompProfile={"type": "Unconfined"})),
        *(set(), set()),
    ),
    "the network of the node": (
        *("pod-security", TWO, lambda o: pod(o).update(hostNetwork=True)),
        *({"CKV_K8S_19"}, set()),
    ),
    "the processes of the node": (
        *("pod-security", TWO, lambda o: pod(o).update(hostPID=True)),
        *({"CKV_K8S_17"}, set()),
    ),
    # checkov counts a limit as the request of another resource: it misses a container with limits alone.
    "no resources": (
        *("resource-bounds", TWO, lambda o: main(o).pop("resources")),
        *({"CKV_K8S_10", "CKV_K8S_12"}, {"container-resources"}),
    ),
    "no limit of memory": (
        *("resource-bounds", TWO, lambda o: main(o)["resources"].pop("limits")),
        *({"CKV_K8S_13"}, {"container-resources"}),
    ),
    "no readiness probe": (
        *("probe-arithmetic", TWO, lambda o: main(o).pop("readinessProbe")),
        *({"CKV_K8S_9"}, {"pod-probes"}),
    ),
    "equal probes": (
        *("probe-arithmetic", ready_made(readiness_probe=PROBE, liveness_probe=PROBE), None),
        *(set(), {"pod-probes-identical"}),
    ),
    "an image by tag": (
        "image-digest",
        ready_made(
            readiness_probe=PROBE,
            liveness_probe=LIVE,
            sidecars=[{"name": "proxy", "image": "ghcr.io/acme/proxy:1", "cpu": "1", "mem": "1Gi"}],
        ),
        None,
        {"CKV_K8S_43"},
        set(),
    ),
    "no budget": (
        *("disruption-budget", TWO, lambda o: o["PodDisruptionBudget"].update(kind="Gone")),
        *(set(), {"deployment-has-poddisruptionbudget"}),
    ),
    "one replica": ("single-replica", api(), None, set(), {"deployment-replicas"}),
}
THEIRS = {
    "CKV_K8S_11": "CPU is limited on request only: a throttled container answers late while the CPU is idle.",
    "CKV_K8S_35": "Predictors read secrets as environment variables, as those of Cortex did.",
    "container-resources": "kube-score asks for a limit of CPU; see CKV_K8S_11. Without memory it says more.",
    "container-image-pull-policy": "Images are named by digest: asking the registry again gives the same one.",
    "pod-networkpolicy": "The chart cannot know what a predictor calls; egress is limited on request.",
    "deployment-replicas": "kube-score asks for three replicas; `single-replica` notes one in a protected environment.",
    "deployment-has-host-podantiaffinity": "The scheduler spreads replicas by default; the manifest can require it.",
}
"""What the other programs find in a release as the chart renders it, and why it stays so."""


@pytest.fixture(scope="module")
def objects() -> dict[str, tuple[Any, ...]]:
    made = {name: side(words, objects=edit) for name, (_, words, edit, _, _) in CASES.items()}
    return {
        name: tuple(o for o in each.objects if o["kind"] != "Gone") for name, each in made.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_the_rule_finds_it(name: str) -> None:
    rule, words, edit, _, _ = CASES[name]
    found = broken(subject(None, side(words, objects=edit)))
    assert (rule in found) if rule else (found == set())


def test_checkov_finds_the_same(objects: dict[str, tuple[Any, ...]], tmp_path: Path) -> None:
    if CHECKOV is None:
        pytest.skip("no checkov on PATH, and GITOPS_ML_CHECKOV does not name one")
    names = list(CASES)
    for number, name in enumerate(names):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump_all(map(dict, objects[name])))
    command = [CHECKOV, "-d", str(tmp_path), "--framework", "kubernetes", "--skip-download"]
    done = subprocess.run(
        [*command, "--compact", "--quiet", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, set[str]] = {name: set() for name in names}
    for check in json.loads(done.stdout)["results"]["failed_checks"]:
        found[names[int(Path(check["file_path"]).stem)]].add(check["check_id"])
    assert found[PLAIN] <= set(THEIRS)
    lacking = {name: case[3] - found[name] for name, case in CASES.items() if case[3] - found[name]}
    assert lacking == {}


def of_kube_score(objects: dict[str, tuple[Any, ...]]) -> dict[str, list[str]]:
    if not KUBE_SCORE:
        recorded: dict[str, list[str]] = json.loads(RECORDED.read_text())
        return recorded
    found = {name: _scored(each) for name, each in objects.items()}
    if UPDATES:
        RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _scored(objects: tuple[Any, ...]) -> list[str]:
    command = [str(KUBE_SCORE), "score", "-o", "json", "--kubernetes-version", "v1.30", "-"]
    text = yaml.safe_dump_all(map(dict, objects))
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    checks = [check for item in json.loads(done.stdout) for check in item["checks"]]
    return sorted({c["check"]["id"] for c in checks if c["grade"] < 10 and not c.get("skipped")})


def test_kube_score_finds_the_same(objects: dict[str, tuple[Any, ...]]) -> None:
    found = of_kube_score(objects)
    assert list(found) == list(CASES)
    assert set(found[PLAIN]) <= set(THEIRS)
    lacking = {n: c[4] - set(found[n]) for n, c in CASES.items() if c[4] - set(found[n])}
    assert lacking == {}
    assert all(reason.endswith(".") for reason in THEIRS.values())
