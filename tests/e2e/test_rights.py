"""The verbs with the rights of `bootstrap/rights.yaml`, bound as the repository's README says."""

from __future__ import annotations

import json

import pytest
import yaml

from gitops_ml.cluster.rights import ROLES
from tests.e2e.machine.argocd import NAMESPACE as ARGO_CD
from tests.e2e.machine.processes import until
from tests.e2e.story import answer_api


@pytest.fixture
def bound(story, local):
    """The story goes on as a ServiceAccount with no more than these roles."""
    story.has(answer_api())
    story.bootstraps()
    story.applies("rights.yaml")
    kubectl, name = story.cluster.kubectl, f"ci-{story.mark}"
    kubectl("create", "serviceaccount", name, "-n", "default")
    kubectl("create", "namespace", story.namespace)
    for role in ROLES:
        namespace = ARGO_CD if role.is_for_argo_cd else story.namespace
        words = role.binding(namespace).split()[1:-1]
        kubectl(*words, f"--serviceaccount=default:{name}")
    token = kubectl("create", "token", name, "-n", "default").strip()
    access = story.ann.home / "access.yaml"
    access.write_text(yaml.safe_dump(local.node.access(token)))
    story.ann.monkeypatch.setenv("KUBECONFIG", str(access))
    yield name
    for role in ROLES:
        namespace = ARGO_CD if role.is_for_argo_cd else story.namespace
        kubectl("delete", "rolebinding", role.name, "-n", namespace, "--ignore-not-found")


def test_every_verb_works_with_these_rights(story, bound):
    story.deploys()
    (release,) = story.runs("get", "-o", "json").json["releases"]
    assert release["status"] == "status_live"
    assert story.runs("get", "-o", "json").json["unseen"] == []
    assert "answer" in story.runs("describe", "answer", "-e", story.environment).out
    assert story.runs("logs", "answer", "-e", story.environment).out
    payload = story.ann.home / "payload.json"
    payload.write_text('{"x": 21}')
    words = ("predict", "answer", payload, "-e", story.environment)
    # The API server may know a pod some seconds after it is ready.
    until(lambda: story.ann.runs(*words).code == 0, "the API server reaches the pod", seconds=60)
    predicted = story.runs(*words)
    assert json.loads(predicted.out) == {"answer": 42}

    may = ("auth", "can-i", f"--as=system:serviceaccount:default:{bound}", "-n", story.namespace)
    for verb, resource in (("list", "secrets"), ("create", "pods/exec"), ("delete", "pods")):
        with pytest.raises(AssertionError):
            story.cluster.kubectl(*may, verb, resource)
