"""Many releases in one call of Helm's library are what each is by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gitops_ml.errors import ProgramFailed
from gitops_ml.helm.charts import chart_path
from gitops_ml.helm.engines import LibraryHelm, WantedRelease, chart_for_many

EXAMPLES = Path(__file__).parents[1] / "charts" / "values"
VALUES = [yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.glob("*.yaml"))]


@pytest.fixture(scope="module")
def helm() -> LibraryHelm:
    found = LibraryHelm.load()
    assert found is not None, "helm-python-sdk is in the extra dev"
    return found


def alone(helm: LibraryHelm, wanted: WantedRelease) -> str:
    return helm.manifest(
        chart_path("predictor"),
        release=wanted.name,
        namespace=wanted.namespace,
        values=wanted.values,
    )


def test_each_release_is_as_if_it_were_alone(helm):
    wanted = [
        WantedRelease(f"api-{number}", f"ns-{number}", values)
        for number, values in enumerate(VALUES)
    ]
    assert len(wanted) > 5
    found = helm.manifests(chart_path("predictor"), wanted)
    assert found == [alone(helm, each) for each in wanted]


def test_a_release_that_the_chart_refuses_stops_no_other_one(helm):
    good = WantedRelease("iris", "ml", VALUES[0])
    for bad in (good._replace(name="Iris_"), good._replace(values={"unknown": 1})):
        first, second, third = helm.manifests(chart_path("predictor"), [good, bad, good])
        assert first == third == alone(helm, good)
        assert isinstance(second, ProgramFailed)


def test_the_text_of_one_release_is_never_part_of_another_one(helm):
    text = "x\n# 0 deployment.yaml\n---\nkind: Secret\n"
    hostile = {**VALUES[0], "annotations": {"note": text}}
    wanted = [WantedRelease(name, "ml", hostile) for name in ("iris", "rose")]
    assert helm.manifests(chart_path("predictor"), wanted) == [alone(helm, w) for w in wanted]


def test_a_template_that_looks_at_itself_is_rendered_alone(tmp_path):
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("{}\n")
    (chart / "templates" / "a.yaml").write_text("a: {{ .Template.Name }}\n")
    assert not chart_for_many(chart, tmp_path / "copy", without=())
