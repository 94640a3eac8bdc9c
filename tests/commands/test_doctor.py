"""`gitops-ml doctor`: every check against real Git, a real registry and an API server; each fault with its remedy."""

from __future__ import annotations

import json
import re
import time

import pytest

import gitops_ml as gml
from gitops_ml.cluster.cluster_facts import Node, Taint
from gitops_ml.doctor.cluster_checks import gpu_class
from gitops_ml.doctor.probes import FINDING, Probe, examine, ok
from gitops_ml.errors import ServerFailed
from gitops_ml.oci.image_manifest import MANIFEST, canonical_json, describe
from gitops_ml.oci.registry import OciRegistry
from gitops_ml.oci.registry_session import RegistrySession
from gitops_ml.project.project import GpuClass
from tests.support import controllers as k8s
from tests.support.http_servers import Handler, answering
from tests.support.person import container_api
from tests.support.ports import free_port

KEDA = {"keda.sh/v1alpha1": ["scaledobjects", "triggerauthentications"]}
ARGO_CD = {"argoproj.io/v1alpha1": ["applications", "applicationsets", "appprojects"]}
ONE = {"staging": {"cluster": "main", "namespace": "ml-staging"}}
NOWHERE = {"repository": "127.0.0.1:1/ml", "base": "127.0.0.1:1/base/python:3.12"}
GPU_LABELS = {"nvidia.com/gpu.present": "true"}


@pytest.fixture
def well(life, registry):
    """A release that runs, in a cluster that has what it needs."""
    life.server.served = {**KEDA, **ARGO_CD, "external.metrics.k8s.io/v1beta1": []}
    image = {"repository": f"{registry.host}/ml", "base": f"{registry.host}/base/python:3.12"}
    has_image(registry, "base/python", "3.12")
    life.ann.has(container_api("iris"))
    life.ann.configures(image=image, environments=ONE)
    life.deploys()
    life.syncs()
    life.runs(k8s.ready())
    life.server.has(life.ann.yaml("argocd/staging.yaml"))
    return life


def has_image(registry, name, tag):
    """The registry has an image without layers."""
    there = OciRegistry(RegistrySession({}))
    config = describe(b"{}", "application/vnd.oci.image.config.v1+json")
    there.push_blob(f"{registry.host}/{name}", config, lambda at: iter([b"{}"[at:]]))
    document = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config.as_json(), "layers": [],
    }  # fmt: skip
    content = canonical_json(document)
    there.push_manifest(f"{registry.host}/{name}", content, media_type=MANIFEST, to=tag)


def doctor(life, *more):
    return life.ann.runs("doctor", "--output", "json", *more)


def by_subject(result) -> dict[str, tuple[str, str, str]]:
    checks = result.json["checks"]
    return {each["subject"]: (each["outcome"], each["text"], each["remedy"]) for each in checks}


def findings(result) -> dict[str, str]:
    """Subject to text and remedy."""
    found = by_subject(result)
    return {
        name: f"{text} | {remedy}"
        for name, (word, text, remedy) in found.items()
        if word == FINDING
    }


def test_what_is_well_has_no_finding_and_nothing_is_changed(well):
    before, objects = well.ann.head(), json.dumps(list(well.server.objects.values()))
    result = doctor(well)
    assert findings(result) == {}
    assert result.code == 0
    found = by_subject(result)
    assert found["documents"][:2] == ("ok", "1 API, environments staging")
    assert found["cluster main: Kubernetes"][:2] == ("ok", "v1.35.2")
    for subject in ("registry", "base image", "GitOps repository", "GitOps repository: push"):
        assert found[subject][0] == "ok", subject
    assert found["Argo CD: environment staging"][1] == "it reads the repository; 1 Application"
    assert "list pods" in found["environment staging: rights"][1]
    assert (well.ann.head(), json.dumps(list(well.server.objects.values()))) == (before, objects)
    changing = [each for each in well.server.requests if not each.startswith("GET")]
    assert {each.split()[1] for each in changing} == {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    }


def test_text_has_a_line_for_each_check_and_the_remedy_below(well):
    well.server.version = "v1.28.4"
    result = well.ann.runs("doctor")
    assert result.code == 7
    assert "ok       GitOps repository: push: a push would be accepted" in result.out
    lines = result.out.splitlines()
    at = lines.index("finding  cluster main: Kubernetes: v1.28.4 is older than 1.30")
    assert lines[at + 1].strip().startswith("update the cluster")
    assert lines[-1].endswith("checks, 1 finding")
    assert well.ann.runs("doctor", "--skip", "cluster main").code == 0


def without_keda(life):
    del life.server.served["keda.sh/v1alpha1"]
    life.server.kinds = {each for each in life.server.kinds if each[1] != "scaledobjects"}


def with_old_controllers(life):
    life.server.rights.add(("apps", "deployments", "list"))
    image = {
        "template": {
            "spec": {"containers": [{"name": "x", "image": "ghcr.io/kedacore/keda:2.19.1"}]}
        }
    }
    labels = {"app.kubernetes.io/name": "keda-operator"}
    life.server.has(
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": image,
         "metadata": {"name": "keda-operator", "namespace": "keda", "labels": labels}}
    )  # fmt: skip


def repository_unreadable(life):
    life.argo_cd_says(
        {"conditions": [{"type": "ComparisonError", "message": "authentication required"}]}
    )


def polls(life):
    (application,) = (each for key, each in life.server.objects.items() if key[1] == "applications")
    revision = life.ann.head()
    application["status"]["operationState"] = {
        "phase": "Succeeded", "startedAt": "2099-01-01T00:00:00Z", "syncResult": {"revision": revision},
    }  # fmt: skip


FAULTS = {
    "KEDA": (without_keda, "cluster main: KEDA", r"no scaledobjects.*\| install KEDA 2.20 or newer"),
    "old KEDA": (with_old_controllers, "cluster main: KEDA", r"2\.19\.1 is older than 2\.20 \| install"),
    "metrics": (
        lambda life: life.server.served.pop("external.metrics.k8s.io/v1beta1"),
        "cluster main: KEDA metrics", r"metrics API .* does not answer.*\| .*kubectl get apiservice",
    ),
    "rights": (
        lambda life: life.server.forbidden.add("pods/log"),
        "environment staging: rights", r"no right to get pods/log in .*ml-staging \| .*rolebinding gitops-ml-reader",
    ),
    "Argo CD": (
        lambda life: life.server.loses("ApplicationSet"),
        "Argo CD: environment staging", r"no ApplicationSet .*\| run `gitops-ml bootstrap`",
    ),
    "credentials": (
        repository_unreadable,
        "Argo CD: environment staging", r"ComparisonError: authentication required \| .*argocd repo add",
    ),
    "webhook": (polls, "Argo CD: webhook", r"no webhook of the forge .*\| add a webhook"),
    "cluster": (
        lambda life: setattr(life.server, "broken", True),
        "Argo CD", r"etcdserver: request timed out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_finding_about_its_subject_with_the_remedy(well, fault):
    cause, subject, expected = FAULTS[fault]
    cause(well)
    result = doctor(well)
    assert result.code == 7
    assert re.search(expected, findings(result)[subject], re.S), findings(result)
    left = doctor(
        well, "-e", "staging", *(w for each in findings(result) for w in ("--skip", each))
    )
    assert (left.code, findings(left)) == (0, {})


def test_what_the_cluster_entry_names_has_to_be_there(well):
    main = {
        "server": "https://kubernetes.default.svc", "kubernetes_version": "1.33",
        "gateway": {"name": "public", "namespace": "gateways", "hosts": ["ml.example.org"]},
        "prometheus": {"address": "http://prometheus.monitoring.svc:9090", "pod_monitors": True},
        "http_addon": True, "external_secrets": True,
    }  # fmt: skip
    well.ann.configures(image=NOWHERE, clusters={"main": main}, environments=ONE)
    found = findings(doctor(well))
    expected = {
        "cluster main: Kubernetes": "kubernetes_version is 1.33 | set it to 1.35",
        "cluster main: Gateway API": "no httproutes of gateway.networking.k8s.io/v1",
        "cluster main: Prometheus Operator": "no podmonitors",
        "cluster main: HTTP add-on": "no interceptorroutes",
        "cluster main: External Secrets": "no externalsecrets",
        "registry": "127.0.0.1:1",
    }
    assert {name: text in found.get(name, "") for name, text in expected.items()} == dict.fromkeys(
        expected, True
    ), found


def test_a_wrong_project_file_and_a_missing_one_are_findings(ann, monkeypatch):
    ann.has(container_api("iris"))
    (ann.project / "gitops-ml.yaml").write_text("project: shop\nclustres: {}\n")
    assert "clustres" in findings(ann.runs("doctor", "-o", "json"))["documents"]
    (ann.project / "gitops-ml.yaml").unlink()
    result = ann.runs("doctor", "-o", "json")
    assert "run `gitops-ml init`" in findings(result)["documents"]
    assert result.code == 7


def test_a_server_that_does_not_answer_costs_its_time_only_once(life):
    life.ann.has(container_api("iris"))
    life.ann.configures(image=NOWHERE)
    life.server.delay = 30
    started = time.monotonic()
    result = doctor(life, "--timeout", "1")
    assert time.monotonic() - started < 25
    late = [each for each in findings(result) if each.startswith(("cluster main", "Argo CD"))]
    assert late == ["Argo CD", "cluster main: Kubernetes"]
    others = [each for each in by_subject(result) if each.startswith(("cluster main", "Argo CD"))]
    assert len(others) > 5


def test_a_token_that_may_read_and_not_write_is_found(life):
    class ReadOnly(Handler):
        def do_GET(self):
            self.answer(403 if "receive-pack" in self.path else 404, b"denied")

    with answering(ReadOnly) as host:
        life.ann.has(container_api("iris"))
        life.ann.configures(
            gitops={"repository": f"http://{host}/acme/gitops.git", "forge": {"type": "none"}}
        )
        found = findings(doctor(life))
    assert host in found["GitOps repository"]


def test_probes_run_side_by_side_and_keep_their_order():
    def fails():
        raise ServerFailed("it is down")

    def sleeps(seconds):
        time.sleep(seconds)
        yield ok("fine")

    probes = [
        Probe("slow", lambda: sleeps(0.3)), Probe("down", fails),
        Probe("never", lambda: sleeps(60)), Probe("quick", lambda: sleeps(0)),
    ]  # fmt: skip
    started = time.monotonic()
    checks = examine(probes, seconds=0.8)
    assert time.monotonic() - started < 30
    assert [(each.subject, each.outcome) for each in checks] == [
        ("slow", "ok"), ("down", "finding"), ("never", "finding"), ("quick", "ok"),
    ]  # fmt: skip
    assert checks[2].text == "no answer within 0.8 seconds"


def test_a_bug_in_a_probe_is_raised():
    def breaks():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        examine([Probe("x", breaks)], seconds=5)


# -- GPU classes -----------------------------------------------------------------------------------


def a_class(**changes):
    usual = {
        "resource": "nvidia.com/gpu",
        "node_selector": GPU_LABELS,
        "tolerations": (),
        "spare": False,
    }
    return GpuClass(**{**usual, **changes})


def a_node(name="n1", *, labels=GPU_LABELS, taints=(), **allocatable):
    return Node(
        name,
        labels,
        taints,
        {"cpu": "8", **{k.replace("_", "/", 1): v for k, v in allocatable.items()}},
    )


TAINT = Taint("nvidia.com/gpu", "present", "NoSchedule")
SOFT = Taint("x", "", "PreferNoSchedule")
KEY = "nvidia.com/gpu"
FITS = {"nvidia.com_gpu": "2"}
TAINTED = a_node(taints=(TAINT,), **FITS)


@pytest.mark.parametrize(
    ("gpu", "nodes", "outcome", "text"),
    [
        (a_class(), [a_node(**FITS), a_node("n2", **FITS)], "ok", "4 nvidia.com/gpu on 2 nodes"),
        (a_class(), [a_node(labels={}, **FITS)], "finding", "no node has the labels nvidia.com/gpu.present=true"),
        (a_class(spare=True), [], "ok", "no node with nvidia.com/gpu.present=true now"),
        (a_class(), [a_node()], "finding", "offers no nvidia.com/gpu: it has no extended resource"),
        (a_class(), [a_node(**{"nvidia.com_mig-1g.5gb": "7"})], "finding", "it has nvidia.com/mig-1g.5gb"),
        (a_class(), [TAINTED], "finding", "the taint nvidia.com/gpu=present:NoSchedule"),
        (a_class(tolerations=({"key": KEY, "operator": "Exists"},)), [TAINTED], "ok", "2 nvidia.com/gpu"),
        (a_class(tolerations=({"key": KEY, "value": "other"},)), [TAINTED], "finding", "keeps pods"),
        (a_class(tolerations=({"operator": "Exists"},)), [TAINTED], "ok", "2 nvidia.com/gpu"),
        (a_class(tolerations=({"operator": "Exists", "effect": "NoExecute"},)), [TAINTED], "finding", "taint"),
        (a_class(), [a_node(taints=(SOFT,), **FITS)], "ok", "2 nvidia.com/gpu"),
    ],
)  # fmt: skip
def test_a_gpu_class_fits_a_node_by_labels_resource_and_taints(gpu, nodes, outcome, text):
    check = gpu_class(gpu, nodes)
    assert (check.outcome, text in check.text) == (outcome, True), check
    assert bool(check.remedy) == (outcome == "finding")


def test_gpu_classes_are_compared_with_the_nodes_of_the_cluster(well):
    main = {"server": "https://kubernetes.default.svc", "gpu_classes": {"t4": {"preset": "nvidia"}}}
    well.ann.configures(image=NOWHERE, clusters={"main": main}, environments=ONE)
    assert by_subject(doctor(well))["cluster main: GPU classes"][0] == "skipped"
    well.server.rights.add(("", "nodes", "list"))
    well.server.kinds.add(("v1", "nodes"))
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {"allocatable": {}},
    }
    well.server.has(node)
    outcome, text, _ = by_subject(doctor(well))["cluster main: GPU class t4"]
    assert (outcome, "no node has the labels" in text or "offers no" in text) == ("finding", True)


# -- forge and Prometheus --------------------------------------------------------------------------


class FakePrometheus(Handler):
    series = "3"

    def do_GET(self):
        body: dict = {"status": "success", "data": {"version": "3.1.0"}}
        if "/query" in self.path:
            value = [{"metric": {}, "value": [1, self.series]}] if self.series else []
            body = {"status": "success", "data": {"resultType": "vector", "result": value}}
        self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"status":"success","data":["pod","namespace"]}', None),
        (200, b'{"status":"success"}', "labels are: none"),
        (302, b"", "it redirects (302)"),
        (500, b"{}", "status 500, without"),
        (401, b"no org id", "refuses access (401: no org id): set loki.token_env"),
    ],
)
def test_loki_is_asked_for_its_labels(well, status, body, expected):
    class Loki(Handler):
        def do_GET(self):
            self.answer(status, body)

    with answering(Loki) as host:
        main = {"server": "https://kubernetes.default.svc", "loki": {"address": f"http://{host}"}}
        well.ann.configures(image=NOWHERE, clusters={"main": main}, environments=ONE)
        report = doctor(well)
    subject = "cluster main: Loki"
    if expected is None:
        assert by_subject(report)[subject][0] == "ok"
    else:
        assert expected in findings(report)[subject]


def test_prometheus_is_reached_through_the_proxy_of_the_api_server(well, monkeypatch):
    main = {
        "server": "https://kubernetes.default.svc",
        "prometheus": {"address": "http://prometheus.monitoring.svc:9090"},
    }
    well.ann.configures(image=NOWHERE, clusters={"main": main}, environments=ONE)
    subject = "cluster main: Prometheus"
    well.server.forbidden.add("services/proxy")
    assert "services/proxy is forbidden" in findings(doctor(well))[subject]
    well.server.forbidden.clear()
    well.server.rights.add(("", "services/proxy", "get"))
    with answering(FakePrometheus) as host:
        well.server.services["prometheus"] = f"http://{host}"
        found = by_subject(doctor(well))
        assert found[subject][1] == "3.1.0 at http://prometheus.monitoring.svc:9090"
        assert found[f"{subject}: targets"][1] == "it reads 3 predictors"
        monkeypatch.setattr(FakePrometheus, "series", "")
        assert "it reads no predictor" in findings(doctor(well))[f"{subject}: targets"]
        # An address outside of the cluster is asked directly.
        main["prometheus"] = {"address": f"http://{host}"}
        well.ann.configures(image=NOWHERE, clusters={"main": main}, environments=ONE)
        assert by_subject(doctor(well))[subject][1] == f"3.1.0 at http://{host}"


def test_the_client_gives_the_same_checks(well):
    found = gml.client("staging").doctor(skip=["documents"])
    assert not [each for each in found.findings if each.subject != "documents"], found
    assert list(found.to_frame().columns) == ["subject", "outcome", "text", "remedy"]
    assert "GitOps repository" in repr(found)
    assert "<table" in found._repr_html_()


def test_an_unused_port_is_said_with_the_address(life):
    port = free_port()
    life.server.address = f"http://127.0.0.1:{port}"
    life.has_kubeconfig()
    life.ann.has(container_api("iris"))
    life.ann.configures(image=NOWHERE)
    assert str(port) in findings(doctor(life))["cluster main: Kubernetes"]
