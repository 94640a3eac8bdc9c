"""The chart rendered by Helm's own engine, and the rules that its objects are held to."""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from tests.support.custom_resources import check_custom_resource, scaler_parameters

helm = pytest.importorskip("helm_python", reason="Helm's engine is the extra gitops-ml[helm]")

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "predictor"
EXAMPLES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
KUBERNETES_VERSIONS = ("1.35", "1.36", "1.37")

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Of the two safe ones, the one that is ten times as fast."""

Object = dict[str, Any]
Values = Mapping[str, Any]

# The library reads its schemas anew for every object: 12 ms each, and 0.6 ms with these.
utils.schema_contents = functools.lru_cache(None)(utils.schema_contents)
utils.all_versions = functools.lru_cache(None)(utils.all_versions)


@dataclass(frozen=True, slots=True)
class Rendered:
    objects: tuple[Object, ...]
    notes: str

    def all(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str) -> Object:
        (item,) = self.all(kind)
        return item

    @property
    def kinds(self) -> set[str]:
        return {item["kind"] for item in self.objects}

    @property
    def pod(self) -> Object:
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self) -> Object:
        return self.pod["containers"][0]

    def trigger(self, name: str) -> Object:
        return {item["name"]: item for item in self.one("ScaledObject")["spec"]["triggers"]}[name]


def merged(below: Values, above: Values) -> dict[str, Any]:
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        both_maps = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both_maps else copy.deepcopy(value)
    return result


MINIMAL: Values = {
    "image": {"repository": "ghcr.io/acme/iris", "digest": "sha256:" + "1" * 64},
}
"""The least that has to be said."""


@pytest.fixture(scope="session")
def chart() -> Iterator[Any]:
    with helm.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render_exactly(
    chart: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Rendered]]:
    """Render these values and no others.

    Helm compiles the schema at each render, which takes three times as long as the templates. So it checks the values
    that another reader of the schema refuses, and has no schema for the others.
    """
    folder = tmp_path_factory.mktemp("bare") / "predictor"
    shutil.copytree(CHART, folder, ignore=shutil.ignore_patterns("values.schema.json"))
    schema = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def render(values: Values, *, name: str = "iris", namespace: str = "ml") -> Rendered:
        if not schema.is_valid(merged(defaults, values)):
            chart.validate_schema(dict(values))
            raise AssertionError(f"Helm takes values that the schema refuses: {values}")
        files = bare.render(dict(values), name=name, namespace=namespace)
        notes = files.pop("predictor/templates/NOTES.txt")
        documents = (yaml.load_all(files[path], Loader=LOADER) for path in sorted(files))
        return Rendered(tuple(item for some in documents for item in some if item), notes)

    with helm.Chart.load(folder) as bare:
        yield render


@pytest.fixture(scope="session")
def render(render_exactly: Callable[..., Rendered]) -> Callable[..., Rendered]:
    """Render the minimal values with these on top."""

    def render(values: Values = {}, **options: str) -> Rendered:  # noqa: B006
        return render_exactly(merged(MINIMAL, values), **options)

    return render


@pytest.fixture(scope="session")
def refused(chart: Any) -> Callable[..., str]:
    """The sentence with which the chart refuses the minimal values with these on top."""

    def refused(values: Values, *, name: str = "iris") -> str:
        values = merged(MINIMAL, values)
        with pytest.raises(helm.HelmError) as caught:
            chart.validate_schema(values)
            chart.render(values, name=name, namespace="ml")
        return str(caught.value)

    return refused


def is_custom(item: Object) -> bool:
    group = item["apiVersion"].partition("/")[0]
    own = group.endswith(".k8s.io") and not group.startswith("gateway.")
    return "." in group and not own


@pytest.fixture(scope="session")
def assert_valid() -> Callable[..., None]:
    """Hold an object to Kubernetes' strict schemas or to the strict schema of its CRD."""

    def assert_valid(item: Object, *, versions: tuple[str, ...] = KUBERNETES_VERSIONS) -> None:
        if is_custom(item):
            check_custom_resource(item)
        else:
            for version in versions:
                kubernetes_validate.validate(item, version, strict=True)

    return assert_valid


@pytest.fixture(scope="session")
def scalers() -> dict[str, dict[str, Any]]:
    """KEDA's own description of its triggers: type → parameter name → parameter."""
    return scaler_parameters()


def program(variable: str, name: str) -> str:
    """The path of a program that some tests need, or a skip that says what is missing."""
    found = os.environ.get(variable) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH, and {variable} does not name one")
    return found


@pytest.fixture(scope="session")
def helm_binary() -> str:
    return program("GITOPS_ML_HELM", "helm")


@pytest.fixture(scope="session")
def checkov_binary() -> str:
    return program("GITOPS_ML_CHECKOV", "checkov")


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("GITOPS_ML_PROMTOOL", "promtool")
