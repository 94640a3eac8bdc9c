"""What the chart refuses is refused before the commit, all of it at once."""

from __future__ import annotations

import pytest

from gitops_ml.delivery.rendering import refuse_unrenderable
from gitops_ml.errors import InvalidDocument, ProgramFailed
from gitops_ml.gitops.release_files import Release
from gitops_ml.helm.charts import Chart
from gitops_ml.system.cache import Seal
from gitops_ml.system.memory import Memory
from gitops_ml.workspace.clients import Clients
from tests.support.person import container_api
from tests.support.pipeline import api, helm, image_of, resolved, text_of

SENTENCE = "autoscaling.minReplicas (5) is more than maxReplicas (1)"


def release(name: str, **broken) -> Release:
    """A release whose values nobody checked."""
    spec, text = resolved(api(name=name)), text_of(api(name=name))
    scaling = (
        '"minReplicas": 5, "maxReplicas": 1' if broken else '"minReplicas": 1, "maxReplicas": 100'
    )
    data = text.data.replace('"minReplicas": 1, "maxReplicas": 100', scaling)
    return Release(
        name=name,
        environment="staging",
        team="ml",
        namespace="ml-staging",
        image=image_of(spec),
        content_hash=None,
        chart=Chart("predictor", "1.0.0", "1", ()),
        text=type(text)(text.deployment_id, text.values, text.facts, data),
    )  # fmt: skip


@pytest.fixture
def memory(tmp_path) -> Memory:
    return Memory(tmp_path, seal=Seal(b"0" * 32))


def test_every_release_that_the_chart_refuses_is_named_with_its_sentence(memory):
    releases = [release("iris", broken=True), release("roses"), release("lilies", broken=True)]
    with pytest.raises(InvalidDocument) as caught:
        refuse_unrenderable(releases, helm=helm(), memory=memory)
    assert [str(each) for each in caught.value.problems] == [
        f"releases/staging/{name}/values.yaml: the chart predictor refuses the release {name}: {SENTENCE}"
        for name in ("iris", "lilies")
    ]


def test_what_was_rendered_once_is_not_rendered_again(memory):
    class Counting:
        calls = 0

        def manifests(self, chart, releases):
            self.calls += len(releases)
            return helm().manifests(chart, releases)

    engine = Counting()
    for _ in range(2):
        refuse_unrenderable([release("iris")], helm=engine, memory=memory)
    assert engine.calls == 1


@pytest.mark.parametrize("command", [("deploy",), ("diff",), ("diff", "--manifests")])
def test_nothing_is_committed_that_helm_refuses(ann, monkeypatch, command):
    class Refusing:
        def manifests(self, chart, releases):
            failure = f"execution error at (a.yaml:1:2): {SENTENCE}\n"
            return [ProgramFailed(("helm",), 1, failure) for _ in releases]

    monkeypatch.setattr(Clients, "helm", Refusing())
    ann.has(container_api("iris"))
    result = ann.runs(*command, "-e", "staging")
    assert (result.code, ann.commits()) == (3, 0)
    assert f"the chart predictor refuses the release iris: {SENTENCE}" in result.err
