"""What reaches beyond the team is refused, whichever way it is asked for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from gitops_ml.documents.json_schema import load_schema
from gitops_ml.documents.yaml_reader import document_of
from gitops_ml.manifest.manifest import parse_manifests
from gitops_ml.manifest.merge_patch import patched
from gitops_ml.project.policy import TriggerPolicy
from gitops_ml.project.project import Project
from gitops_ml.release.rules.triggers import AUTHENTICATION_KEYS, is_address, scalers
from tests.support.pipeline import api, errors_of, merged, project_of, rendered

GATEWAY = {"name": "public", "namespace": "gateways", "hosts": ["ml.acme.example"]}
PROJECT: dict[str, Any] = {
    "project": "shop",
    "clusters": {
        "main": {
            "gateway": GATEWAY,
            "external_secrets": True,
            "image_pull_secrets": ["regcred"],
            "gpu_classes": {"t4": {"preset": "gke", "model": "t4"}},
            "prometheus": {"address": "http://prometheus.monitoring:9090"},
        }
    },
    "environments": {"staging": {"namespace": "ml-staging"}},
}
CONTAINER = {"image": f"ghcr.io/acme/x@sha256:{'1' * 64}", "port": 8080}


def project(**changes: Any) -> Project:
    return project_of(merged(PROJECT, changes))


def annotated(key: str) -> dict[str, Any]:
    return {"annotations": {key: "x"}}


def tolerating(**words: Any) -> dict[str, Any]:
    return {"compute": {"tolerations": [words]}}


def on_nodes(key: str, operator: str = "Exists", **more: Any) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": operator, **more}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"compute": {"affinity": {"nodeAffinity": required}}}


def beside_pods(section: str, **term: Any) -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", **term}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"compute": {"affinity": {section: required}}}


def triggered(type_: str, authentication: Any = None, **metadata: str) -> dict[str, Any]:
    trigger = {"type": type_, "metadata": metadata}
    if authentication is not None:
        trigger["authentication"] = authentication
    return {"autoscaling": {"triggers": [trigger]}}


def asks(authentication: Any = None, server: str = "http://attacker.example/") -> dict[str, Any]:
    return triggered(
        "prometheus", authentication, serverAddress=server, query="x", threshold="1"
    )  # fmt: skip


def queue(authentication: Any = None, **metadata: str) -> dict[str, Any]:
    url = "https://sqs.eu-west-1.amazonaws.com/1/q"
    return triggered(
        "aws-sqs-queue", authentication, queueURL=url, awsRegion="eu-west-1", **metadata
    )


def external(**remote: str) -> dict[str, Any]:
    return {"secrets": [{"env": "A", "name": "a", "key": "k", "remote": {"key": "k", **remote}}]}


SECRET = {"secretTargetRef": [{"parameter": "token", "name": "db", "key": "k"}]}
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

REFUSED: dict[str, dict[str, Any]] = {
    **{
        f"annotation {key}": annotated(key)
        for key in (
            "argocd.argoproj.io/hook", "argocd.argoproj.io/sync-options",
            "argocd.argoproj.io/compare-options", "argocd.argoproj.io/managed-by",
            "helm.sh/hook", "helm.sh/resource-policy", "meta.helm.sh/release-name",
            "kubectl.kubernetes.io/last-applied-configuration", "gitops-ml.dev/deployment-id",
            "nginx.ingress.kubernetes.io/configuration-snippet",
            "nginx.ingress.kubernetes.io/server-alias", "nginx.ingress.kubernetes.io/auth-url",
            "nginx.ingress.kubernetes.io/canary", "nginx.org/server-snippets",
            "haproxy.org/backend-config-snippet", "haproxy-ingress.github.io/config-backend",
            "traefik.ingress.kubernetes.io/router.middlewares", "projectcontour.io/websocket-routes",
            "k8s.apisix.apache.org/plugin-config-name", "konghq.com/plugins",
            "alb.ingress.kubernetes.io/scheme", "kubernetes.io/ingress.class",
            "eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account",
            "azure.workload.identity/client-id", "iam.amazonaws.com/role",
            "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt",
            "container.apparmor.security.beta.kubernetes.io/predictor",
            "seccomp.security.alpha.kubernetes.io/pod", "pod-security.kubernetes.io/enforce",
            "scheduler.alpha.kubernetes.io/critical-pod", "k8s.v1.cni.cncf.io/networks",
            "sidecar.istio.io/inject", "linkerd.io/inject", "vault.hashicorp.com/agent-inject",
            "external-dns.alpha.kubernetes.io/hostname", "cert-manager.io/cluster-issuer",
            "pre.hook.backup.velero.io/command", "autoscaling.keda.sh/paused-replicas",
            "scaledobject.keda.sh/transfer-hpa-ownership", "replicator.v1.mittwald.de/replicate-to",
            "service.beta.kubernetes.io/aws-load-balancer-internal", "unknown.vendor.example/x",
            "prometheus.io.attacker.example/x", "evil-acme.example/x",
        )
    },
    **{
        f"label {key}": {"labels": {key: "true"}}
        for key in (
            "azure.workload.identity/use", "aadpodidbinding", "sidecar.istio.io/inject",
            "argocd.argoproj.io/instance", "argoproj.io/x", "meta.helm.sh/x", "helm.sh/chart",
            "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "istio.io/rev",
            "pod-security.kubernetes.io/enforce", "service.kubernetes.io/service-proxy-name",
            "admission.gatekeeper.sh/ignore", "kueue.x-k8s.io/queue-name",
        )
    },
    **{
        f"priority class {name}": {"compute": {"priority_class": name}}
        for name in ("system-cluster-critical", "system-node-critical", "system-x", "urgent")
    },
    "toleration of the control plane": tolerating(key=CONTROL_PLANE, operator="Exists"),
    "toleration of the master": tolerating(key="node-role.kubernetes.io/master", value=""),
    "toleration of cordoned nodes": tolerating(
        key="node.kubernetes.io/unschedulable", operator="Exists", effect="NoSchedule"
    ),
    "toleration of every taint": tolerating(operator="Exists"),
    "toleration of every taint of an effect": tolerating(operator="Exists", effect="NoSchedule"),
    "toleration of another team's nodes": tolerating(key="dedicated", value="payments"),
    "toleration of virtual nodes": tolerating(key="virtual-kubelet.io/provider", operator="Exists"),
    "node selector of the control plane": {"compute": {"node_selector": {CONTROL_PLANE: ""}}},
    "node selector of one node": {"compute": {"node_selector": {"kubernetes.io/hostname": "n"}}},
    "affinity to the control plane": on_nodes(CONTROL_PLANE),
    "affinity to the control plane by value": on_nodes(CONTROL_PLANE, "In", values=[""]),
    "affinity beside pods of all namespaces": beside_pods("podAffinity", namespaceSelector={}),
    "affinity beside pods of the system": beside_pods("podAffinity", namespaces=["kube-system"]),
    "anti-affinity to every pod": beside_pods("podAntiAffinity"),
    "anti-affinity to any pod": beside_pods("podAntiAffinity", labelSelector={}),
    "anti-affinity to any pod but some": beside_pods(
        "podAntiAffinity",
        labelSelector={"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]},
    ),
    "keys of pods without a selector": beside_pods("podAffinity", matchLabelKeys=["a"]),
    "anti-affinity to all predictors": beside_pods(
        "podAntiAffinity", labelSelector={"matchLabels": {"app.kubernetes.io/name": "predictor"}}
    ),
    "anti-affinity to another API": beside_pods(
        "podAntiAffinity", labelSelector={"matchLabels": {"app.kubernetes.io/instance": "other"}}
    ),
    "ClusterTriggerAuthentication": asks(
        {"name": "platform", "kind": "ClusterTriggerAuthentication"}, "http://prometheus.monitoring:9090"
    ),
    "TriggerAuthentication to an attacker": asks({"name": "orders"}),
    "TriggerAuthentication to the own namespace": asks({"name": "orders"}, "http://mine.ml.svc/"),
    "TriggerAuthentication to an unknown server": asks({"name": "o"}, "http://a@attacker.example"),
    "TriggerAuthentication to a server of a variable": triggered(
        "redis", {"name": "orders"}, addressFromEnv="ADDRESS", listName="x"
    ),
    "Secret to an attacker": asks(SECRET),
    "Secret to an attacker in the other's clothes": asks(
        SECRET, "http://prometheus.monitoring@attacker.example/"
    ),
    "metadata service": triggered(
        "metrics-api", url="http://169.254.169.254/latest", valueLocation="x", targetValue="1"
    ),
    "KEDA's own pod": asks(None, "http://localhost:8080/metrics"),
    "identityOwner operator": queue(identityOwner="operator"),
    "identityOwner in capitals": queue(identityOwner="Operator"),
    "podIdentity aws": queue({"podIdentity": {"provider": "aws"}}),
    "podIdentity aws with a role": queue(
        {"podIdentity": {"provider": "aws", "roleArn": "arn:aws:iam::1:role/admin"}}
    ),
    "podIdentity aws with a role of the workload": queue(
        {"podIdentity": {"provider": "aws", "identityOwner": "workload", "roleArn": "arn:x"}}
    ),
    "podIdentity azure": triggered(
        "azure-queue", {"podIdentity": {"provider": "azure-workload"}}, queueName="q"
    ),
    "podIdentity gcp": triggered("gcp-pubsub", {"podIdentity": {"provider": "gcp"}}),
    "a file of KEDA's": triggered("gcp-pubsub", credentialsFromEnvFile="F", subscriptionName="s"),
    "KEDA's token to a Vault": queue(
        {"hashiCorpVault": {"address": "https://vault.attacker.example", "authentication": "kubernetes"}}
    ),
    "another's ServiceAccount": queue(
        {"boundServiceAccountToken": [{"parameter": "t", "serviceAccountName": "payments"}]}
    ),
    **{
        f"authentication by {key}": queue({key: {}})
        for key in sorted(AUTHENTICATION_KEYS - {"secretTargetRef", "configMapTargetRef", "env",
                                                 "boundServiceAccountToken", "podIdentity"})
    },
    **{
        f"a {name} trigger": triggered(name, **dict.fromkeys(scalers()[name].required, "x"))
        for name in ("external", "external-push", "kubernetes-resource")
    },
    **{
        f"host {host}": {"networking": {"hosts": [host]}}
        for host in (
            "admin.acme.example", "x.ml.acme.example", "*.acme.example", "*.ml.acme.example",
            "acme.example", "ml.acme.example.attacker.example", "xn--ml-fka.acme.example",
            "ML.acme.example", "ml.acme.example.", "ml.acme.example:8443", "mł.acme.example", "",
            "ml.acme.example/x", "ml.acme.example\n", "*",
        )
    },
    **{
        f"user {user}": {"container": {**CONTAINER, "run_as_user": user}}
        for user in (0, 1, 1000, 9999, -1)
    },
    "the Secret that images are pulled with": {
        "secrets": [{"env": "A", "name": "regcred", "key": ".dockerconfigjson"}]
    },
    "the Secret that images are pulled with, by KEDA": asks(
        {"secretTargetRef": [{"parameter": "t", "name": "regcred", "key": "k"}]}, "http://p.svc"
    ),
    "a cluster's store": external(store="vault"),
    "a cluster's store in so many words": external(store="vault", store_kind="ClusterSecretStore"),
    "a way out of a store": external(store="own", store_kind="SecretStore", key="a/../../root"),
}  # fmt: skip


REFUSED |= {
    f"{name} of the pods": {f"pod_{section}": keys}
    for name, words in REFUSED.items()
    for section, keys in words.items()
    if section in ("annotations", "labels")
}


def is_refused(words: dict[str, Any], where: Project) -> bool:
    """By its shape, or by a rule."""
    _, problems = parse_manifests(document_of([words], file=""))
    if any(problem.severity == "error" for problem in problems):
        return True
    return bool(errors_of(words, where))


def with_work(words: dict[str, Any]) -> dict[str, Any]:
    return api(**words)


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_what_reaches_beyond_the_team_is_refused(words):
    assert is_refused(with_work(words), project())


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_an_override_of_the_environment_too(words):
    assert is_refused(api(environments={"staging": words}), project()) or "container" in words


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_a_patch_too(words):
    whole = patched(with_work({k: v for k, v in words.items() if k == "container"}), words,
                    environment="staging")  # fmt: skip
    assert is_refused(dict(whole), project())


def sentences(words: dict[str, Any], where: Project) -> list[str]:
    return [f"{'.'.join(map(str, each.path))}: {each.message}" for each in errors_of(words, where)]


ALLOWED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a known annotation": (annotated("prometheus.io/scrape"), {}),
    "an annotation of nobody's domain": (annotated("owner"), {}),
    "an annotation of the own domain": (annotated("acme.example/runbook"), {}),
    "a cloud identity": (
        annotated("eks.amazonaws.com/role-arn"), {"annotations": ["eks.amazonaws.com/role-arn"]}
    ),
    "a label": ({"labels": {"kueue.x-k8s.io/queue-name": "x"}}, {"labels": ["kueue.x-k8s.io/"]}),
    "a known annotation of pods": ({"pod_annotations": {"prometheus.io/scrape": "true"}}, {}),
    "a secret for the pods": (
        {"pod_annotations": {"vault.hashicorp.com/agent-inject": "true"}},
        {"annotations": ["vault.hashicorp.com/"]},
    ),
    "a cost centre of pods": ({"pod_labels": {"cost-centre": "4711"}}, {}),
    "a cloud identity of pods": (
        {"pod_labels": {"azure.workload.identity/use": "true"}},
        {"labels": ["azure.workload.identity/use"]},
    ),
    "a priority class": ({"compute": {"priority_class": "urgent"}}, {"priority_classes": ["urgent"]}),
    "a taint": (tolerating(key="dedicated", value="ml"), {"tolerations": ["dedicated=ml"]}),
    "a taint of a GPU class": (
        {"compute": {"gpu": 1, "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}}, {}
    ),
    "a dying node for a while": (
        tolerating(key="node.kubernetes.io/unreachable", operator="Exists", effect="NoExecute",
                   tolerationSeconds=30), {}
    ),
    "a zone": ({"compute": {"node_selector": {"topology.kubernetes.io/zone": "a"}}}, {}),
    "nodes but those of the control plane": (on_nodes(CONTROL_PLANE, "DoesNotExist"), {}),
    "a node by name": (
        {"compute": {"node_selector": {"kubernetes.io/hostname": "n"}}},
        {"node_labels": ["kubernetes.io/hostname"]},
    ),
    "beside pods of the own namespace": (
        beside_pods("podAffinity", namespaces=["ml-staging"], labelSelector={"matchLabels": {"a": "b"}}),
        {},
    ),
    "away from the own pods": (
        beside_pods(
            "podAntiAffinity", labelSelector={"matchLabels": {"app.kubernetes.io/instance": "iris"}}
        ),
        {},
    ),
    "away from the own pods by a key": (
        beside_pods(
            "podAntiAffinity", labelSelector={}, matchLabelKeys=["app.kubernetes.io/instance"]
        ),
        {},
    ),
    "no secret to anybody": (asks(), {}),
    "the own Secret within the cluster": (asks(SECRET, "http://prometheus.ml.svc:9090"), {}),
    "the own Secret to a listed server": (asks(SECRET), {"triggers": {"servers": ["*.example"]}}),
    "an authentication to the cluster's Prometheus": (
        asks({"name": "orders"}, "http://prometheus.monitoring:9090"), {}
    ),
    "a listed ClusterTriggerAuthentication": (
        asks({"name": "platform", "kind": "ClusterTriggerAuthentication"}),
        {"triggers": {"servers": ["attacker.example"],
                      "authentications": ["ClusterTriggerAuthentication/plat*"]}},
    ),
    "a listed identity": (queue(identityOwner="operator"), {"triggers": {"identities": ["aws"]}}),
    "the workload's identity": (
        queue({"podIdentity": {"provider": "aws", "identityOwner": "workload"}}), {}
    ),
    "the gateway's host": ({"networking": {"hosts": ["ml.acme.example"]}}, {}),
    "a listed host": ({"networking": {"hosts": ["a.b.acme.example"]}}, {"hosts": ["*.acme.example"]}),
    "a listed user": ({"container": {**CONTAINER, "run_as_user": 1000}}, {"least_user_id": 1000}),
    "a listed store": (external(store="vault"), {"external_secrets": ["ClusterSecretStore/vault/k"]}),
}  # fmt: skip


@pytest.mark.parametrize(("words", "policy"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_harmless_or_listed_is_allowed(words, policy):
    assert sentences(with_work(words), project(policy=policy)) == []


@pytest.mark.parametrize(
    ("words", "policy"), [each for each in ALLOWED.values() if each[1]], ids=str
)
def test_a_policy_of_an_environment_only_narrows(words, policy):
    widened = {"staging": {"namespace": "ml-staging", "policy": policy}}
    assert sentences(with_work(words), project(environments=widened))
    none: dict[str, Any] = {
        "annotations": [],
        "labels": [],
        "priority_classes": [],
        "tolerations": [],
    }
    none |= {"node_labels": [], "hosts": [], "external_secrets": [], "least_user_id": 20000}
    none |= {"triggers": {"types": []}}
    narrowed = {"staging": {"namespace": "ml-staging", "policy": none}}
    assert sentences(with_work(words), project(policy=policy, environments=narrowed))


def test_a_policy_that_would_allow_what_none_can_is_refused():
    from gitops_ml.project.reader import read_project

    for section, key in (
        ("annotations", "argocd.argoproj.io/"), ("annotations", "helm.sh/hook"),
        ("labels", "app.kubernetes.io/instance"), ("priority_classes", "system-node-critical"),
    ):  # fmt: skip
        for words in (
            {"policy": {section: [key]}},
            {"environments": {"staging": {"namespace": "ml", "policy": {section: [key]}}}},
        ):
            found, problems = read_project(document_of({**PROJECT, **words}, file="gitops-ml.yaml"))
            assert found is None
            assert any(section in problem.path for problem in problems)


def test_images_come_from_the_registries_that_are_listed():
    where = project(policy={"registries": ["ghcr.io/acme", "docker.io/library"]})
    for image, is_allowed in (
        ("ghcr.io/acme/x:1", True), ("ghcr.io/acme-evil/x:1", False), ("nginx:1", True),
        ("evil/nginx:1", False), ("index.docker.io/library/nginx:1", True), ("quay.io/x:1", False),
    ):  # fmt: skip
        words = api(container={**CONTAINER, "image": image})
        assert (sentences(words, where) == []) is is_allowed, image
        words = api(container={**CONTAINER, "sidecars": [{"name": "s", "image": image}]})
        assert (sentences(words, where) == []) is is_allowed, image
        words = api(predictor={"path": "predictor.py", "image": image})
        assert (sentences(words, where) == []) is is_allowed, image


def test_secrets_are_those_that_the_policy_lists():
    where = project(policy={"secrets": ["ml-*"]})
    secret = {"env": "A", "key": "k"}
    assert sentences(api(secrets=[{**secret, "name": "ml-db"}]), where) == []
    assert sentences(api(secrets=[{**secret, "name": "payments"}]), where)
    assert sentences(api(**asks(SECRET, "http://p.svc")), where)


def test_own_domains_can_be_left_to_the_clusters_controllers():
    words = api(annotations={"acme.example/inject": "x"}, labels={"ml.acme.example/x": "y"})
    assert sentences(words, project()) == []
    assert len(sentences(words, project(policy={"own_domains": False}))) == 2
    narrow = {"staging": {"namespace": "ml", "policy": {"own_domains": False}}}
    assert len(sentences(words, project(environments=narrow))) == 2


def test_overrides_of_the_project_file_are_held_to_the_policy_too():
    overrides = {"annotations": {"eks.amazonaws.com/role-arn": "x"}}
    where = project(environments={"staging": {"namespace": "ml", "overrides": overrides}})
    assert sentences(api(), where)


def test_everything_is_told_at_once_with_its_remedy():
    words = api(
        annotations={"eks.amazonaws.com/role-arn": "x"},
        compute={"priority_class": "urgent", "tolerations": [{"operator": "Exists"}]},
        networking={"hosts": ["admin.acme.example"]},
    )
    found = sentences(words, project())
    for name in ("annotations", "priority_classes", "tolerations", "hosts"):
        assert any(f"policy.{name} of the project file" in each for each in found), name


def test_the_default_of_trigger_types_is_every_scaler_but_three():
    default = load_schema("project").definition("policy").document["properties"]["triggers"]
    types = default["properties"]["types"]["default"]
    assert set(types) == scalers().keys() - {"external", "external-push", "kubernetes-resource"}
    assert types == sorted(types)
    assert set(TriggerPolicy.__slots__) == default["properties"].keys()


LOOKS_LIKE_ONE = re.compile(
    r"(?i)addr|url|host|(?<!brow)server|endpoint|connection|broker|cloudid|template"
)
NO_ADDRESSES = {
    *("aggregateFromKubeServiceEndpoints", "brokerName", "connectionLimit", "searchTemplateName"),
    *("queueURL", "queueURLFromEnv", "tlsServerName", "vhostName"),
}


def test_every_parameter_that_says_where_keda_connects_to_is_known_as_one():
    names = {name for scaler in scalers().values() for name in scaler.parameters}
    assert {name for name in names if LOOKS_LIKE_ONE.search(name) and not is_address(name, "")} == (
        NO_ADDRESSES & names
    )


# -- the property ----------------------------------------------------------------------------------

NASTY = st.sampled_from(
    [
        *("argocd.argoproj.io/hook", "helm.sh/hook", "eks.amazonaws.com/role-arn", "iam.gke.io/x"),
        *("nginx.ingress.kubernetes.io/server-snippet", "prometheus.io/x", "owner", CONTROL_PLANE),
        *("system-node-critical", "ml.acme.example", "admin.acme.example", "/", "", "*", "a/b/c"),
        *("acme.example/x", "prometheus.io/\nhelm.sh/hook", "helm.sh/hook ", "Helm.sh/hook"),
    ]
)
ANY = NASTY | st.text(max_size=40) | st.builds("{}/{}".format, NASTY, st.text("az-.", max_size=9))
FORBIDDEN = re.compile(
    r"argoproj\.io/(?!sync-wave)|^helm\.sh/(?!chart$)|meta\.helm\.sh/|ingress\.kubernetes\.io/"
    r"|amazonaws\.com/|iam\.gke\.io/|last-applied"
)


def metadata_keys(objects: Any) -> set[str]:
    found: set[str] = set()
    for item in objects:
        template = (item.get("spec") or {}).get("template") or {}
        for metadata in (item["metadata"], template.get("metadata") or {}):
            found |= {*(metadata.get("annotations") or {}), *(metadata.get("labels") or {})}
    return found


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(annotation=ANY, label=ANY, host=ANY, path=ANY, priority=ANY, taint=ANY, node=ANY)
def test_any_words_are_refused_or_render_nothing_that_is_forbidden(
    annotation, label, host, path, priority, taint, node
):
    whole = {
        "annotations": {annotation: "x"},
        "labels": {label: "x"},
        "pod_annotations": {annotation: "x"},
        "pod_labels": {label: "x"},
        "networking": {"hosts": [host], "endpoint": path},
        "compute": {
            "priority_class": priority,
            "tolerations": [{"key": taint, "operator": "Exists"}],
            "node_selector": {node: "x"},
        },
    }
    for section, words in whole.items():
        one = api(**{section: words})
        if section == "networking":
            singles = [api(networking={"hosts": [host]}), api(networking={"endpoint": path})]
        elif section == "compute":
            singles = [api(compute={key: value}) for key, value in words.items()]
        else:
            singles = [one]
        for single in singles:
            assert_refused_or_harmless(single)


def assert_refused_or_harmless(words: dict[str, Any]) -> None:
    where = project()
    if is_refused(words, where):
        return
    event("accepted")
    release = rendered(words, where)
    kinds = [item["kind"] for item in release.objects]
    assert {"Deployment", "Service", "ServiceAccount", "ScaledObject", "HTTPRoute"} <= set(kinds)
    assert not [key for key in metadata_keys(release.objects) if FORBIDDEN.search(key)]
    pod = json.dumps(release.pod)
    assert "priorityClassName" not in pod
    assert "node-role.kubernetes.io" not in pod
    assert release.one("HTTPRoute")["spec"]["hostnames"] == ["ml.acme.example"]
    assert not [t for t in release.pod.get("tolerations", ()) if not t.get("key")]
