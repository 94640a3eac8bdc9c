"""Helm's library and Helm's program: the same objects, and the same messages when they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_ml.errors import ProgramFailed, UsageError
from gitops_ml.helm.engines import HelmEngine, LibraryHelm, ProgramHelm, find_helm

ROOT = Path(__file__).parents[2]
PREDICTOR = ROOT / "charts" / "predictor"
PREDICTOR_VALUES = sorted((ROOT / "tests" / "charts" / "values").glob("*.yaml"))
PROGRAM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

KINDS = [
    *("Zebra", "ScaledObject", "Ingress", "CronJob", "Deployment", "Application", "HTTPRoute"),
    *("Pod", "Service", "RoleBinding", "Role", "ServiceAccount", "PodDisruptionBudget"),
    *("NetworkPolicy", "Namespace", "ConfigMap", "Secret", "StatefulSet", "DaemonSet"),
    *("HorizontalPodAutoscaler", "APIService", "IngressClass", "ClusterRole", "Job"),
    *("CustomResourceDefinition", "PriorityClass", "ResourceQuota", "PersistentVolumeClaim"),
]
VALUES = """
count: 1
list: [1]
nested: {a: 1, b: 2}
kinds: []
"""
SCHEMA = """
{"type": "object", "additionalProperties": false, "properties": {
  "count": {"type": "integer"}, "list": {}, "nested": {}, "kinds": {}, "global": {}, "lib": {}}}
"""
KINDS_AFTERWARDS = """
{{ range $i, $k := .Values.kinds }}
---
apiVersion: v1
kind: {{ $k }}
metadata: {name: z{{ $i }}}
{{ end }}
"""
CONFIGMAP_AND_KINDS = """
# only a comment
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ include "tiny.name" . }}, namespace: {{ .Release.Namespace }}}
data: {values: {{ toJson .Values | quote }}, count: "{{ .Values.count }}"}
odd: {date: 2024-01-31, time: 12:30, on: on, oct: 0o14, float: 1.5e3, int: 1_000, nil: ~}
---
---
{{ range $k := .Values.kinds }}
---
apiVersion: v1
kind: {{ $k }}
metadata: {name: a}
{{ end }}
"""
HOOK = "{apiVersion: v1, kind: Pod, metadata: {name: t, annotations: {helm.sh/hook: test}}}"
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
"""


@pytest.fixture(params=["library", "program"])
def helm(request: pytest.FixtureRequest) -> HelmEngine:
    return engine(request.param)


def engine(name: str) -> HelmEngine:
    if name == "library":
        pytest.importorskip("helm_python", reason="the extra gitops-ml[helm] is not installed")
        found = LibraryHelm.load()
        assert found
        return found
    if PROGRAM is None:
        pytest.skip("helm is not installed: python tests/support/install_helm.py")
    return ProgramHelm(Path(PROGRAM))


@pytest.fixture
def both() -> tuple[HelmEngine, HelmEngine]:
    return engine("library"), engine("program")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A small chart with what is easy to get wrong: order, hooks, notes, numbers, odd scalars."""
    return write_chart(
        tmp_path / "tiny",
        {
            "values.yaml": VALUES,
            "values.schema.json": SCHEMA,
            "templates/_helpers.tpl": '{{ define "tiny.name" }}{{ .Release.Name }}{{ end }}',
            "templates/NOTES.txt": "Well done: {{ .Release.Name }}",
            "templates/z.yaml": KINDS_AFTERWARDS,
            "templates/a.yaml": CONFIGMAP_AND_KINDS,
            "templates/empty.yaml": "{{ if false }}a: b{{ end }}\n",
            "templates/hook.yaml": HOOK,
            "crds/x.yaml": CRD,
        },
    )


def write_chart(folder: Path, files: dict[str, str]) -> Path:
    files = {"Chart.yaml": f"apiVersion: v2\nname: {folder.name}\nversion: 0.1.0\n", **files}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def render(helm: HelmEngine, chart: Path, **values: Any) -> Any:
    return helm.template(chart, release="iris", namespace="prod", values=values)


@pytest.mark.parametrize("path", [".", "", ":", "./", "bin"])
def test_a_program_in_the_project_is_not_taken_for_helm(tmp_path, monkeypatch, path):
    (tmp_path / "bin").mkdir()
    for place in (tmp_path, tmp_path / "bin"):
        (place / "helm").write_text("#!/bin/sh\n")
        (place / "helm").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LibraryHelm, "load", lambda: None)
    with pytest.raises(UsageError, match="needs Helm"):
        find_helm(path=path)


def test_objects_come_without_notes_hooks_crds_and_empty_documents(helm, chart):
    assert render(helm, chart, count=33554432) == (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "iris", "namespace": "prod"},
            "data": {
                "values": '{"count":33554432,"kinds":[],"list":[1],"nested":{"a":1,"b":2}}',
                "count": "3.3554432e+07",
            },
            "odd": {
                "date": "2024-01-31",
                "time": "12:30",
                True: True,
                "oct": 12,
                "float": 1500.0,
                "int": 1000,
                "nil": None,
            },
        },
    )


def test_both_engines_give_the_same_objects_in_the_same_order(both, chart):
    values = {
        "count": 10_000_000_000,
        "list": [
            0.1,
            1e-7,
            1e22,
            -0.0,
            True,
            None,
            "é\u2028\U0001f600",
            "yes",
            "0x1F",
            "1_000",
            "",
        ],
        "nested": {"a": None, "c": {"d": []}, "": "x"},
        "kinds": KINDS,
    }
    library, program = (render(helm, chart, **values) for helm in both)
    assert library == program
    assert [x["kind"] for x in library] == kinds_in_helms_order(chart)


def kinds_in_helms_order(chart: Path) -> list[str]:
    assert PROGRAM
    command = [PROGRAM, "template", "iris", str(chart), "--no-hooks", "--values", "-"]
    values = json.dumps({"kinds": KINDS})
    done = subprocess.run(command, input=values, text=True, capture_output=True, check=True)
    return re.findall(r"^kind: (\w+)", done.stdout, re.M)


@pytest.mark.skipif(not PREDICTOR_VALUES, reason="the predictor chart has no test values here")
@pytest.mark.parametrize("file", PREDICTOR_VALUES, ids=lambda file: file.stem)
def test_both_engines_agree_on_the_predictor_chart(both, file):
    values = yaml.safe_load(file.read_text())
    library, program = (outcome(helm, PREDICTOR, values) for helm in both)
    assert library == program
    assert library


@pytest.mark.skipif(PROGRAM is None, reason="the program helm is not on PATH")
@pytest.mark.parametrize("name", ["--name-template=chosen", "--post-renderer=x", "-g"])
def test_a_release_that_is_named_like_an_option_is_none(chart, name):
    """Names come out of a GitOps repository, too."""
    assert PROGRAM
    with pytest.raises(ProgramFailed) as caught:
        ProgramHelm(Path(PROGRAM)).template(chart, release=name, namespace="ml", values={})
    assert "invalid release name" in caught.value.stderr


def outcome(helm: HelmEngine, chart: Path, values: Any) -> Any:
    try:
        return helm.template(chart, release="iris", namespace="ml-prod", values=values)
    except ProgramFailed as failure:
        return failure.stderr.strip()


def test_values_that_the_schema_refuses_are_reported_with_helms_message(helm, chart):
    with pytest.raises(ProgramFailed) as caught:
        render(helm, chart, count="many")
    assert caught.value.stderr.startswith("values don't meet the specifications of the schema(s)")
    assert "at '/count': got string, want integer" in caught.value.stderr


def test_a_template_that_fails_is_reported_with_its_place(helm, tmp_path):
    chart = write_chart(
        tmp_path / "bad", {"templates/a.yaml": 'a: {{ required "say it" .Values.x }}'}
    )
    with pytest.raises(ProgramFailed, match=r"bad/templates/a\.yaml:1:6\): say it$"):
        render(helm, chart)


def test_a_template_that_does_not_render_yaml_is_reported_with_its_place(helm, tmp_path):
    chart = write_chart(tmp_path / "bad", {"templates/a.yaml": "a: [1\nb: c\n"})
    with pytest.raises(ProgramFailed, match=r"YAML parse error on bad/templates/a\.yaml"):
        render(helm, chart)


def test_a_missing_chart_is_reported(helm, tmp_path):
    with pytest.raises(ProgramFailed, match="missing"):
        render(helm, tmp_path / "missing")


def test_a_chart_that_misses_a_dependency_is_refused(helm, tmp_path):
    chart = write_chart(
        tmp_path / "top",
        {
            "Chart.yaml": "apiVersion: v2\nname: top\nversion: 0.1.0\ndependencies:\n"
            "  - {name: lib, version: 0.1.0, repository: 'file://../lib'}\n",
            "templates/a.yaml": "a: 1\n",
        },
    )
    with pytest.raises(ProgramFailed, match="missing in charts/ directory: lib"):
        render(helm, chart)


def test_threads_render_at_once_without_disturbing_each_other(tmp_path):
    """With dependencies, of which Helm's library keeps track inside the loaded chart."""
    chart = write_chart(tmp_path / "top", with_dependencies(6))
    helm = engine("library")
    expected = {n: render(helm, chart, count=n) for n in range(8)}
    wrong: list[object] = []

    def work(n: int) -> None:
        for _ in range(100):
            try:
                if render(helm, chart, count=n) != expected[n]:
                    wrong.append(n)
            except ProgramFailed as failure:
                wrong.append(failure)

    threads = [threading.Thread(target=work, args=(n,)) for n in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def with_dependencies(count: int) -> dict[str, str]:
    """The files of a chart that uses one definition of each of its dependencies."""
    files = {"Chart.yaml": "apiVersion: v2\nname: top\nversion: 0.1.0\ndependencies:\n"}
    files["templates/use.yaml"] = "apiVersion: v1\nkind: Secret\n"
    for n in range(count):
        lib = f"lib{n}"
        files["Chart.yaml"] += f"  - {{name: {lib}, version: 0.1.0, condition: {lib}.enabled}}\n"
        files["templates/use.yaml"] += f'x{n}: {{{{ include "{lib}.x" . | quote }}}}\n'
        files[f"charts/{lib}/Chart.yaml"] = f"apiVersion: v2\nname: {lib}\nversion: 0.1.0\n"
        files[f"charts/{lib}/values.yaml"] = "enabled: true\n"
        definition = f'{{{{ define "{lib}.x" }}}}{{{{ .Values | toJson }}}}{{{{ end }}}}'
        files[f"charts/{lib}/templates/_x.tpl"] = definition
    return files


def test_the_library_comes_before_the_program():
    pytest.importorskip("helm_python")
    assert isinstance(find_helm(path="/nowhere"), LibraryHelm)


def test_without_the_library_the_program_on_path_is_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "helm_python", None)
    if PROGRAM is None:
        pytest.skip("helm is not installed: python tests/support/install_helm.py")
    assert isinstance(find_helm(path=str(Path(PROGRAM).parent)), ProgramHelm)


def test_with_neither_both_ways_to_get_one_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "helm_python", None)
    with pytest.raises(UsageError, match=r"pip install 'gitops-ml\[helm\]'.*the program helm"):
        find_helm(path="/nowhere")


def test_nothing_of_helm_is_imported_before_it_is_needed():
    script = "import sys, gitops_ml.helm.engines; print('helm_python' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
