"""Previews: Argo CD's objects, and what a preview has, whatever its pull request says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_ml.commands.bootstrap import preview_place
from gitops_ml.documents.yaml_reader import read_yaml
from gitops_ml.errors import UsageError
from gitops_ml.gitops.previews import (
    CHART,
    CHART_VERSION,
    place_project,
    place_set,
    preview_project,
    preview_set,
    preview_values,
    previews_file,
)
from gitops_ml.helm.charts import chart_path, read_chart
from gitops_ml.helm.engines import find_helm
from gitops_ml.project.reader import read_project
from tests.support.custom_resources import check_custom_resource
from tests.support.previews import FORGES, HOURS, PROJECT, place

# All that a release may have, as a stranger could write it.
GREEDY: dict[str, Any] = {
    "api": {"name": "iris", "environment": "staging", "team": "ml", "deploymentId": "iris-0"},
    "image": {"repository": "ghcr.io/acme/iris", "digest": f"sha256:{'5' * 64}"},
    "runtime": {"path": "predictor.py"},
    "secretEnv": [{"name": "KEY", "secret": "production", "key": "token"}],
    "externalSecrets": [],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}},
    "podAnnotations": {"vault.hashicorp.com/agent-inject": "true"},
    "route": {"type": "httpRoute", "path": "/", "gateway": {"name": "public", "namespace": "gateways"}},
    "replicas": 50,
    "autoscaling": {
        "enabled": True, "minReplicas": 30, "maxReplicas": 90, "inFlight": {"enabled": True},
        "triggers": [{"type": "cron", "name": "x", "metadata": {"timezone": "UTC", "start": "0 1 * * *",
                      "end": "0 2 * * *", "desiredReplicas": "9"}}],
    },
    "resources": {"gpu": {"count": 4, "resource": "nvidia.com/gpu"}},
    "networkPolicy": {"enabled": False},
}  # fmt: skip


def problems(previews: str, **changes: str) -> list[str]:
    text = PROJECT.format(previews=previews, host="github.com", forge="github")
    for before, after in changes.items():
        text = text.replace(before, after)
    found = read_project(read_yaml(text.encode(), file="gitops-ml.yaml"))[1]
    return [str(each) for each in found]


def laid_over(values: Any, over: Any) -> Any:
    """As Helm merges the values of two files: maps by key, everything else is replaced."""
    if not (isinstance(values, dict) and isinstance(over, dict)):
        return over
    return {
        key: laid_over(values.get(key), over[key]) if key in over else values[key]
        for key in {**values, **over}
    }


def rendered(previews: str = "{}", cluster: str = "", **greedy: Any) -> dict[str, Any]:
    """The objects of a preview by kind."""
    values = laid_over(
        {**GREEDY, **greedy},
        json.loads(json.dumps(preview_values(place(previews, cluster=cluster)))),
    )
    chart = chart_path("predictor")
    found = find_helm().template(chart, release="iris", namespace="preview-pr-12", values=values)
    return {each["kind"]: each for each in found}


@pytest.mark.parametrize("forge", FORGES)
def test_argo_cds_definitions_take_the_objects(forge):
    secret = f"{{token_secret: {{name: forge-token}}, gpu_class: mig, hours: {HOURS}}}"
    for previews in ("{}", secret):
        documents = list(yaml.safe_load_all(previews_file(place(previews, forge)).content))
        kinds = [each["kind"] for each in documents]
        assert kinds == ["AppProject", "AppProject", "ApplicationSet", "ApplicationSet"]
        for each in documents:
            check_custom_resource(each)


def lists(made: Any) -> Any:
    """The generators of the pull requests and of their lists."""
    outer = made["spec"]["generators"][0]["matrix"]["generators"]
    return outer[0]["matrix"]["generators"] if "matrix" in outer[0] else outer


@pytest.mark.parametrize("forge", FORGES)
def test_the_pull_requests_of_the_forge_with_the_label_and_a_list(forge):
    here = place("{label: try, token_secret: {name: forge-token}}", forge)
    for made in (preview_set(here), place_set(here)):
        requests, found = lists(made)
        assert requests["pullRequest"] == {
            forge: {
                **FORGES[forge][1], "labels": ["try"],
                "tokenRef": {"secretName": "forge-token", "key": "token"},
            },
            "requeueAfterSeconds": 180,
        }  # fmt: skip
        assert found["git"] == {
            "repoURL": here.gitops.argocd_url,
            "revision": "{{ .head_sha }}",
            "files": [{"path": "previews/staging/{{ .branch }}.yaml"}],
        }


def test_the_pull_request_decides_neither_the_namespace_nor_its_limits():
    spaces, previews = (
        made(place())["spec"]["template"]["spec"] for made in (place_set, preview_set)
    )
    assert spaces["source"]["targetRevision"] == "refs/heads/main"
    assert spaces["source"]["path"] == f"charts/{CHART}/{CHART_VERSION}"
    assert previews["source"]["targetRevision"] == "{{ .head_sha }}"
    assert previews["source"]["helm"]["valueFiles"] == ["/releases/staging/{{ .name }}/values.yaml"]
    for spec in (spaces, previews):
        assert spec["destination"] == {
            "server": "https://kubernetes.default.svc",
            "namespace": "preview-pr-{{ .number }}",
        }


@pytest.mark.parametrize("made", [place_set, preview_set])
def test_a_closed_pull_request_removes_what_it_made(made):
    template = made(place())["spec"]["template"]
    assert template["metadata"]["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]
    assert "CreateNamespace=true" not in template["spec"]["syncPolicy"]["syncOptions"]


def test_no_project_of_previews_may_make_pods_and_loosen_their_place():
    spaces, previews = place_project(place())["spec"], preview_project(place())["spec"]
    assert spaces["clusterResourceWhitelist"] == [
        {"group": "", "kind": "Namespace", "name": "preview-pr-*"}
    ]
    assert "clusterResourceWhitelist" not in previews
    first, second = (
        {each["kind"] for each in spec["namespaceResourceWhitelist"]} for spec in (spaces, previews)
    )
    assert first == {"LimitRange", "ResourceQuota"}
    assert {"Deployment", "NetworkPolicy", "Service"} <= second
    assert not second & {*first, "ExternalSecret", "HTTPRoute", "Ingress", "Job", "Secret"}
    for spec in (spaces, previews):
        assert {each["namespace"] for each in spec["destinations"]} == {"preview-pr-*"}


def test_the_chart_is_the_one_that_is_named():
    chart = read_chart(CHART)
    assert (chart.name, chart.version) == (CHART, CHART_VERSION)


def test_the_namespace_has_a_quota_and_is_restricted():
    made = place_set(place("{gpu_class: mig, quota: {cpu: '4', gpus: 2}}"))
    values = made["spec"]["template"]["spec"]["source"]["helm"]["valuesObject"]
    values = json.loads(json.dumps(values).replace("{{ .number }}", "12"))
    objects = find_helm().template(
        chart_path("preview"), release="preview", namespace="x", values=values
    )
    found = {each["kind"]: each for each in objects}
    assert set(found) == {"Namespace", "ResourceQuota", "LimitRange"}
    labels = found["Namespace"]["metadata"]["labels"]
    assert found["Namespace"]["metadata"]["name"] == "preview-pr-12"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert found["ResourceQuota"]["spec"]["hard"] == {
        "requests.cpu": "4", "requests.memory": "4Gi", "pods": "4", "requests.nvidia.com/gpu": "0",
        "requests.nvidia.com/mig-1g.5gb": "2",
    }  # fmt: skip


def test_a_preview_has_no_secret_no_route_no_identity_and_one_replica():
    found = rendered()
    assert set(found) == {"ConfigMap", "Deployment", "NetworkPolicy", "Service", "ServiceAccount"}
    deployment = found["Deployment"]
    assert deployment["spec"]["replicas"] == 1
    text = yaml.safe_dump(list(found.values()))
    for word in ("secretKeyRef", "role-arn", "vault.hashicorp.com", "nvidia.com", "gateways"):
        assert word not in text, word


SECRETS = (
    "{secrets: [{name: iris-db, key: password, remote: {store: previews, key: ml/previews/iris, property: password}}, "
    "{name: iris-db, key: user, remote: {store: previews, key: ml/previews/user}}]}"
)
OPERATOR = "external_secrets: true"


def test_the_secrets_of_previews_are_made_by_their_place_and_never_by_the_pull_request():
    here = place(SECRETS, cluster=OPERATOR)
    spaces, previews = (
        {each["kind"] for each in made(here)["spec"]["namespaceResourceWhitelist"]}
        for made in (place_project, preview_project)
    )
    assert "ExternalSecret" in spaces
    assert not {"ExternalSecret", "Secret"} & previews
    values = place_set(here)["spec"]["template"]["spec"]["source"]["helm"]["valuesObject"]
    values = json.loads(json.dumps(values).replace("{{ .number }}", "12"))
    objects = find_helm().template(
        chart_path("preview"), release="preview", namespace="x", values=values
    )
    (secret,) = [each for each in objects if each["kind"] == "ExternalSecret"]
    check_custom_resource(secret)
    assert secret["metadata"]["namespace"] == "preview-pr-12"
    assert secret["spec"]["secretStoreRef"] == {"name": "previews", "kind": "ClusterSecretStore"}
    remotes = {each["secretKey"]: each["remoteRef"] for each in secret["spec"]["data"]}
    assert {key: each["key"] for key, each in remotes.items()} == {
        "password": "ml/previews/iris",
        "user": "ml/previews/user",
    }
    assert remotes["password"]["property"] == "password"


def test_with_secrets_a_release_reads_those_of_its_own_namespace_and_makes_none():
    wanted = [{"env": "DB_PASSWORD", "name": "iris-db", "key": "password"}]
    made = {"name": "iris-db", "store": {"name": "vault", "kind": "ClusterSecretStore"},
            "data": [{"key": "password", "remoteKey": "ml/production/iris"}]}  # fmt: skip
    greedy = {"secretEnv": wanted, "externalSecrets": [made]}
    found = rendered(SECRETS, OPERATOR, **greedy)
    assert "ExternalSecret" not in found
    (container,) = [
        each
        for each in found["Deployment"]["spec"]["template"]["spec"]["containers"]
        if any(env["name"] == "DB_PASSWORD" for env in each.get("env", ()))
    ]
    (variable,) = [each for each in container["env"] if each["name"] == "DB_PASSWORD"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "iris-db", "key": "password"}}
    assert "DB_PASSWORD" not in yaml.safe_dump(rendered("{}", OPERATOR, **greedy)["Deployment"])


@pytest.mark.parametrize(
    ("previews", "cluster", "words"),
    [
        (SECRETS, "", "does not have the External Secrets operator"),
        (SECRETS.replace("key: user", "key: password"), OPERATOR, "'password' of 'iris-db' is there twice"),
        (SECRETS.replace("store: previews, key: ml/previews/user", "store: vault, key: x"), OPERATOR,
         "come from different stores"),
        ("{secrets: [{name: iris-db, key: password}]}", OPERATOR, "remote"),
        ("{secrets: [{name: Iris, key: a, remote: {store: b, key: c}}]}", OPERATOR, "the name of a Secret"),
        ("{secrets: [{name: a, key: a, remote: {store: b, key: c, store_kind: SecretStore}}]}", OPERATOR, "store_kind"),
    ],
)  # fmt: skip
def test_secrets_of_previews_that_cannot_be_made_are_errors(previews, cluster, words):
    change = {"    gpu_classes": f"    {cluster}\n    gpu_classes"}
    found = problems(previews, **change)
    assert any(words in each for each in found), found


def test_with_hours_a_preview_has_no_replica_outside_of_them():
    found = rendered(f"{{hours: {HOURS}}}")
    assert "replicas" not in found["Deployment"]["spec"]
    scaled = found["ScaledObject"]["spec"]
    check_custom_resource(found["ScaledObject"])
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 1)
    assert [each["metadata"] for each in scaled["triggers"]] == [
        {
            "timezone": "Europe/Berlin",
            "start": "0 8 * * 1-5",
            "end": "0 18 * * 1-5",
            "desiredReplicas": "1",
        }
    ]


def test_with_the_http_add_on_a_preview_has_no_replica_until_a_request():
    found = rendered("{}", "http_addon: true")
    assert set(found) >= {"InterceptorRoute", "ScaledObject"}
    check_custom_resource(found["ScaledObject"])
    check_custom_resource(found["InterceptorRoute"])
    scaled = found["ScaledObject"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 1)
    (rule,) = found["InterceptorRoute"]["spec"]["rules"]
    assert rule["hosts"] == ["iris.preview-pr-12"]
    (ingress,) = found["NetworkPolicy"]["spec"]["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in (
        ingress["from"]
    )


def test_gpus_are_those_of_the_small_class():
    pod = rendered("{gpu_class: mig}")["Deployment"]["spec"]["template"]["spec"]
    (container,) = [each for each in pod["containers"] if "resources" in each]
    assert container["resources"]["limits"]["nvidia.com/mig-1g.5gb"] == "4"
    assert pod["nodeSelector"] == {"pool": "mig"}


@pytest.mark.parametrize(
    ("previews", "changes", "words"),
    [
        ("{gpu_class: mgi}", {}, "has no GPU class 'mgi'; did you mean 'mig'"),
        ("{}", {"protected: true": "protected: true, previews: {}"}, "a protected environment has no previews"),
        ("{}", {"forge: {type: github}": "mode: manifests"}, "use the mode `chart`"),
        ("{namespace_prefix: Try}", {}, "the start of a namespace"),
        ("{namespace_prefix: ml}", {"namespace: ml,": "namespace: ml-pr-x,"}, "could write to 'ml-pr-x'"),
        ("{}", {"production": "dev: {namespace: dev, previews: {}}\n  production"}, "the prefix 'preview', too"),
        ("{hours: {start: daily, end: 0 18 * * *}}", {}, "a cron expression"),
        ("{hours: {start: 0 25 * * *, end: 0 18 * * *}}", {}, "'25' is not a valid hour"),
        ("{hours: {start: 0 8 31 2 *, end: 0 18 * * *}}", {}, "never comes"),
        ("{hours: {start: 0 8 * * *, end: 0 8 * * *}}", {}, "ends when it starts"),
        ("{hours: {start: 0 8 * * *, end: 0 9 * * *, time_zone: Berlin}}", {}, "did you mean 'Europe/Berlin'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_an_error_with_its_place(previews, changes, words):
    found = problems(previews, **changes)
    assert any(words in each for each in found), found
    assert all(each.startswith("gitops-ml.yaml:") for each in found)


def test_bitbucket_has_no_labels():
    text = PROJECT.format(previews="{}", host="bitbucket.acme.example", forge="bitbucket")
    project, _ = read_project(read_yaml(text.encode(), file="x"))
    assert project
    with pytest.raises(UsageError, match="whose pull requests have no labels"):
        preview_place(project, "staging", folder=Path("/"))
