"""Whatever the values, Kubernetes, its operators and an auditor accept what is rendered."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm_python
import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "charts" / "predictor"
EXAMPLES = sorted((HERE / "values").glob("*.yaml"))
UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

Object = dict[str, Any]
example = pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    return values


def assert_restricted(pod: Object) -> None:
    """Pod Security "restricted", as the admission plugin checks it, and what DESIGN adds."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] == "RuntimeDefault"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all(len(volume) == 2 for volume in pod["volumes"])
    kinds = {key for volume in pod["volumes"] for key in volume} - {"name"}
    assert kinds <= {"emptyDir", "configMap", "image", "persistentVolumeClaim", "projected"}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["privileged"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["runAsNonRoot"] is True
        assert own["runAsUser"] > 0
        assert "hostPort" not in str(container.get("ports"))
        handlers = [
            container.get(f"{probe}Probe") or {} for probe in ("startup", "readiness", "liveness")
        ]
        for handler in [*handlers, container.get("lifecycle", {}).get("preStop", {})]:
            assert "host" not in handler.get("httpGet", {}) | handler.get("tcpSocket", {})
            assert len(handler.keys() & {"httpGet", "tcpSocket", "exec", "grpc", "sleep"}) <= 1
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}


def assert_consistent_pod(pod: Object) -> None:
    assert_restricted(pod)
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        variables = [variable["name"] for variable in container.get("env", ())]
        assert len(variables) == len(set(variables))
        mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(mounted) == len(set(mounted))
        assert {mount["name"] for mount in container["volumeMounts"]} <= {
            volume["name"] for volume in pod["volumes"]
        }


def assert_consistent(objects: tuple[Object, ...]) -> None:
    """What schemas do not say: rules of the API servers and admission webhooks, and ours."""
    names = [(item["apiVersion"], item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))
    by_kind = {item["kind"]: item for item in objects}
    deployment = by_kind["Deployment"]["spec"]
    assert (
        deployment["selector"]["matchLabels"].items()
        <= deployment["template"]["metadata"]["labels"].items()
    )
    assert deployment["progressDeadlineSeconds"] > deployment["minReadySeconds"]
    for item in objects:
        if item["kind"] in ("Deployment", "Job"):
            assert_consistent_pod(item["spec"]["template"]["spec"])
    for item in objects:
        labels = item["metadata"]["labels"]
        texts = [*labels.values(), *item["metadata"].get("annotations", {}).values()]
        assert all(isinstance(text, str) for text in texts)
        assert all(len(value) <= 63 for value in labels.values())
        assert item["metadata"]["namespace"] == "ml"
    if scaled := by_kind.get("ScaledObject"):
        assert "replicas" not in deployment
        assert_keda_admits(scaled["spec"])
    if route := by_kind.get("HTTPRoute"):
        assert_gateway_admits(route["spec"])
    if intercepted := by_kind.get("InterceptorRoute"):
        assert len(intercepted["spec"]["target"].keys() & {"port", "portName"}) == 1


def assert_keda_admits(spec: Object) -> None:
    """KEDA's admission webhook, and its rule that a HorizontalPodAutoscaler's name fits 63."""
    assert len("keda-hpa-" + spec["scaleTargetRef"]["name"]) <= 63
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"]
    names = [trigger["name"] for trigger in spec["triggers"]]
    assert len(names) == len(set(names))
    others = [item for item in spec["triggers"] if item["type"] not in ("cpu", "memory")]
    assert others or (spec["minReplicaCount"] > 0 and "fallback" not in spec)
    for trigger in spec["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        if trigger["type"] in ("cpu", "memory"):
            assert trigger["metricType"] in ("Utilization", "AverageValue")
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    assert behavior.keys() <= {"scaleUp", "scaleDown"}


def assert_gateway_admits(spec: Object) -> None:
    """The CEL rules of HTTPRoute that this shape could break."""
    for rule in spec["rules"]:
        rewrites = [item for item in rule.get("filters", ()) if item["type"] == "URLRewrite"]
        assert len(rewrites) <= 1
        if any("path" in item["urlRewrite"] for item in rewrites):
            (match,) = rule["matches"]
            assert match["path"]["type"] == "PathPrefix"
        for match in rule["matches"]:
            path = match["path"]["value"]
            assert path.startswith("/")
            assert "//" not in path
            assert path == "/" or not path.endswith("/")
            assert not {"/./", "/../"} & {f"{path}/"[index:][:4] for index in range(len(path))}
        seconds = rule["timeouts"]["request"]
        assert 2 <= len(seconds) <= 6, "a Gateway API duration has at most five digits"


@example
def test_every_object_is_valid_and_consistent(
    path: Path, render_exactly: Callable[..., Any], assert_valid: Callable[..., None]
) -> None:
    rendered = render_exactly(read(path))
    for item in rendered.objects:
        assert_valid(item)
    assert_consistent(rendered.objects)


@example
def test_a_rendered_example_is_what_it_was(path: Path, render_exactly: Callable[..., Any]) -> None:
    golden = HERE / "golden" / path.name
    objects = render_exactly(read(path)).objects
    text = "---\n".join(yaml.safe_dump(item, sort_keys=False, width=120) for item in objects)
    if UPDATE:
        golden.write_text(text)
    expected = golden.read_text() if golden.exists() else ""
    diff = difflib.unified_diff(
        expected.splitlines(), text.splitlines(), "golden", "now", lineterm=""
    )
    assert text == expected, "\n".join(diff)


def test_the_examples_render_every_template(render_exactly: Callable[..., Any]) -> None:
    kinds = {kind.lower() for path in EXAMPLES for kind in render_exactly(read(path)).kinds}
    templates = {path.stem for path in (CHART / "templates").glob("*.yaml")}
    assert kinds == templates, "one kind a file, the file named after the kind"


@example
def test_lint_has_nothing_to_say_in_process(path: Path) -> None:
    report = helm_python.lint(str(CHART), values=read(path))
    messages = report["messages"] if isinstance(report, dict) else report
    assert [item for item in messages if "icon is recommended" not in str(item)] == []


@example
def test_the_helm_program_lints_and_renders_the_same(
    path: Path, helm_binary: str, render_exactly: Callable[..., Any]
) -> None:
    def run(*arguments: str) -> str:
        command = [helm_binary, *arguments, "-f", str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "0 chart(s) failed" in run("lint", str(CHART), "--strict")
    text = run("template", "iris", str(CHART), "--namespace", "ml")
    theirs = [item for item in yaml.safe_load_all(text) if item]
    key = lambda item: (item["kind"], item["metadata"]["name"])  # noqa: E731
    assert sorted(theirs, key=key) == sorted(render_exactly(read(path)).objects, key=key)


def test_checkov_finds_nothing_but_what_is_exempt_for_a_reason(
    checkov_binary: str, render_exactly: Callable[..., Any], tmp_path: Path
) -> None:
    for path in EXAMPLES:
        objects = render_exactly(read(path)).objects
        (tmp_path / path.name).write_text(yaml.safe_dump_all(objects))
    arguments = ["-d", str(tmp_path), "--framework", "kubernetes", "--skip-download", "--compact"]
    command = [checkov_binary, *arguments, "--quiet", "-o", "json"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report["summary"]["passed"] > 100
    found: dict[str, set[str]] = {}
    for check in report["results"]["failed_checks"]:
        place = f"{Path(check['file_path']).stem}: {check['resource']}"
        found.setdefault(f"{check['check_id']} {check['check_name']}", set()).add(place)
    exempt = read(HERE / "checkov.yaml")
    assert all(reason.endswith(".") for reason in exempt.values())
    assert {name.split()[0] for name in found} == set(exempt), found


# Property: values that fit the schema render to valid objects, or are refused with a sentence.


def strategy(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema of the kind that values.schema.json is made of."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return SAMPLES[name] if name in SAMPLES else strategy(SCHEMA["definitions"][name])
    if "anyOf" in schema:
        return st.one_of([strategy(branch) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    branches = [of_kind(kind, schema) for kind in kinds]
    return st.one_of(branches)


def of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low = schema["minimum"] if "minimum" in schema else schema["exclusiveMinimum"] + 0.001
            return st.floats(low, schema["maximum"]).map(lambda n: round(n, 3))
        case "string":
            return text(schema)
        case "array":
            inner = strategy(schema["items"])
            unique = str if schema.get("uniqueItems") else None
            return st.lists(inner, min_size=schema.get("minItems", 0), max_size=2, unique_by=unique)
        case "object":
            return mapping(schema)
    raise AssertionError(kind)


def text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    printable = st.characters(min_codepoint=32, max_codepoint=126)
    words = st.text(printable, min_size=schema.get("minLength", 0), max_size=20)
    if "pattern" in schema:
        words = st.from_regex(
            schema["pattern"].replace("$", r"\Z"), fullmatch=False, alphabet=printable
        )
    check = jsonschema.Draft7Validator(schema)
    return words.filter(check.is_valid)


def mapping(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" in schema:
        properties = {name: strategy(inner) for name, inner in schema["properties"].items()}
        required = {name: properties.pop(name) for name in schema.get("required", ())}
        some = st.fixed_dictionaries(required, optional=properties)
        least, most = schema.get("minProperties", 0), schema.get("maxProperties", 99)
        return some.filter(lambda value: least <= len(value) <= most)
    if "additionalProperties" in schema:
        keys = strategy({"type": "string"} | schema.get("propertyNames", {"minLength": 1}))
        return st.dictionaries(keys, strategy(schema["additionalProperties"]), max_size=2)
    return st.just({})


NAMES = st.sampled_from(["vault", "shared-config", "0", "null", "1e3", "regcred.example"])
SAMPLES: dict[str, st.SearchStrategy[Any]] = {
    "objectName": NAMES,
    "triggerAuthentication": st.sampled_from(
        [
            None,
            {"podIdentity": {"provider": "aws"}},
            {"secretTargetRef": [{"parameter": "password", "name": "s", "key": "k"}]},
        ]
    ),
    "labelSelector": st.just({"matchLabels": {"app": "web"}}),
}
TRIGGERING = {
    "minReplicas": st.integers(0, 2),
    "maxReplicas": st.integers(2, 2000),
    "enabled": st.just(True),
}


FITTING = strategy(SCHEMA)


@st.composite
def any_values(draw: st.DrawFn) -> dict[str, Any]:
    values: dict[str, Any] = draw(FITTING)
    image = values.get("image", {})
    needed = {"repository": "ghcr.io/acme/iris", "tag": "v1"}
    values["image"] = image | {key: image.get(key) or value for key, value in needed.items()}
    if draw(st.booleans()):
        bounded = draw(st.fixed_dictionaries(TRIGGERING))
        values["autoscaling"] = values.get("autoscaling", {}) | bounded
    return values


@settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)
@given(values=any_values())
def test_values_that_fit_the_schema_render_to_valid_objects_or_are_refused_with_a_sentence(
    values: dict[str, Any], render_exactly: Callable[..., Any], assert_valid: Callable[..., None]
) -> None:
    try:
        rendered = render_exactly(values)
    except helm_python.HelmRenderError as error:
        # What Helm puts before a sentence of ours; a mistake of the chart reads otherwise.
        assert str(error).startswith(
            "execution error at (predictor/templates/deployment.yaml:1:4): "
        ), values
        return
    for item in rendered.objects:
        assert_valid(item, versions=("1.36",))
    assert_consistent(rendered.objects)
