"""What a policy's entries cover, and what none of them can."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.project.policy import (
    allows_host,
    allows_key,
    allows_toleration,
    is_in_cluster,
    is_never_allowed,
    is_nodes_own,
    matches,
    own_domains,
    servers_in,
)

TEXT = st.text(alphabet="ab/.", max_size=8)


@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
def test_a_pattern_matches_whatever_its_stars_are_replaced_with(parts, data):
    filled = parts[0]
    for part in parts[1:]:
        filled += data.draw(TEXT) + part
    assert matches("*".join(parts), filled)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(("a", "b"), ("a", "a "), ("a*", "ba"), ("*a", "ab"), ("a*a", "a"), ("a*b*c", "acb")),
        *(("", "a"), ("ml-*", "ML-a"), ("a.b", "axb"), ("[a]", "a"), ("?", "a")),
    ],
)
def test_a_pattern_matches_nothing_else(pattern, text):
    assert not matches(pattern, text)


@pytest.mark.parametrize(
    "key",
    [
        *("argocd.argoproj.io/hook", "argocd.argoproj.io/sync-options", "argoproj.io/x"),
        *("link.argocd.argoproj.io/external-link", "argocd.argoproj.io/tracking-id"),
        *("helm.sh/hook", "helm.sh/resource-policy", "meta.helm.sh/release-name"),
        *("gitops-ml.dev/deployment-id", "app.kubernetes.io/managed-by"),
        "kubectl.kubernetes.io/last-applied-configuration",
    ],
)
@pytest.mark.parametrize("entry", ["", "*", "{key}", "{domain}/", "{domain}/*"])
def test_no_entry_allows_what_decides_over_the_objects(key, entry):
    listed = entry.format(key=key, domain=key.partition("/")[0])
    assert is_never_allowed(key)
    assert not allows_key(key, [listed], {key.partition("/")[0]})


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("prometheus.io/", "prometheus.io/scrape"),
        ("acme.example/doc-*", "acme.example/doc-link"),
        ("eks.amazonaws.com/role-arn", "eks.amazonaws.com/role-arn"),
        ("nginx.ingress.kubernetes.io/", "nginx.ingress.kubernetes.io/proxy-body-size"),
        ("nginx.ingress.kubernetes.io/auth-url", "nginx.ingress.kubernetes.io/auth-url"),
        ("", "owner"),
    ],
)
def test_an_entry_allows_its_key_its_domain_or_its_beginning(entry, key):
    assert allows_key(key, [entry], ())


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("prometheus.io/", "prometheus.io.attacker.example/x"),
        ("prometheus.io/", "x.prometheus.io/scrape"),
        ("nginx*", "nginx.ingress.kubernetes.io/proxy-body-size"),
        ("*", "eks.amazonaws.com/role-arn"),
        ("", "eks.amazonaws.com/role-arn"),
        ("eks.amazonaws.com", "eks.amazonaws.com/role-arn"),
        ("nginx.ingress.kubernetes.io/", "nginx.ingress.kubernetes.io/configuration-snippet"),
        ("nginx.ingress.kubernetes.io/", "nginx.ingress.kubernetes.io/server-snippet"),
        ("nginx.ingress.kubernetes.io/", "nginx.ingress.kubernetes.io/auth-url"),
        ("nginx.ingress.kubernetes.io/*", "nginx.ingress.kubernetes.io/server-alias"),
        ("nginx.org/", "nginx.org/location-snippets"),
        ("haproxy.org/", "haproxy.org/backend-config-snippet"),
        ("haproxy.org/", "haproxy.org/auth-secret"),
        ("traefik.ingress.kubernetes.io/", "traefik.ingress.kubernetes.io/router.middlewares"),
        ("k8s.apisix.apache.org/", "k8s.apisix.apache.org/plugin-config-name"),
        ("projectcontour.io/", "projectcontour.io/tls-cert-secret"),
        ("konghq.com/", "konghq.com/plugins"),
        ("", "aadpodidbinding"),
        ("*", "aadpodidbinding"),
    ],
)
def test_an_entry_allows_nothing_beside_it(entry, key):
    assert not allows_key(key, [entry], ())


def test_the_projects_own_domains_are_those_above_its_hosts():
    assert own_domains(["ml.acme.example", "*.acme.test"]) == {
        *("ml.acme.example", "acme.example", "acme.test")
    }
    shared = ["a.eks.amazonaws.com", "x.kubernetes.io", "argocd.argoproj.io", "localhost"]
    assert own_domains(shared) == frozenset()


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


@pytest.mark.parametrize(
    ("entry", "toleration"),
    [
        ("dedicated", {"key": "dedicated", "operator": "Exists"}),
        ("dedicated=ml", {"key": "dedicated", "value": "ml"}),
        ("dedicated=ml", {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}),
        ("dedicated:NoSchedule", {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}),
        ("*", {"operator": "Exists"}),
        (CONTROL_PLANE, {"key": CONTROL_PLANE, "operator": "Exists"}),
    ],
)  # fmt: skip
def test_a_taint_allows_the_tolerations_of_it(entry, toleration):
    assert allows_toleration(toleration, [entry])


@pytest.mark.parametrize(
    ("entry", "toleration"),
    [
        ("dedicated=ml", {"key": "dedicated", "operator": "Exists"}),
        ("dedicated=ml", {"key": "dedicated", "value": "other"}),
        ("dedicated=ml", {"key": "dedicated"}),
        ("dedicated:NoSchedule", {"key": "dedicated", "operator": "Exists"}),
        ("dedicated:NoSchedule", {"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}),
        ("dedicated", {"operator": "Exists"}),
        ("dedicated", {"operator": "Exists", "effect": "NoSchedule"}),
        ("dedicated", {"key": "dedicated-too", "operator": "Exists"}),
    ],
)
def test_a_taint_allows_no_wider_toleration(entry, toleration):
    assert not allows_toleration(toleration, [entry])


@pytest.mark.parametrize(
    ("host", "pattern", "by_gateway", "by_ingress"),
    [
        ("ml.acme.example", "ml.acme.example", True, True),
        ("a.acme.example", "*.acme.example", True, True),
        ("a.b.acme.example", "*.acme.example", True, False),
        ("*.acme.example", "*.acme.example", True, True),
        ("acme.example", "*.acme.example", False, False),
        ("*.b.acme.example", "*.acme.example", False, False),
        ("x.ml.acme.example", "ml.acme.example", False, False),
        ("evilacme.example", "*.acme.example", False, False),
        ("evil-ml.acme.example", "ml.acme.example", False, False),
    ],
)
def test_a_host_is_listed_or_below_a_wildcard(host, pattern, by_gateway, by_ingress):
    assert allows_host(host, [pattern], any_depth=True) is by_gateway
    assert allows_host(host, [pattern], any_depth=False) is by_ingress


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("http://Prometheus.monitoring:9090/api?x=1", ("prometheus.monitoring",)),
        ("a.svc:9092, b.svc:9092", ("a.svc", "b.svc")),
        ("redis.", ("redis",)),
        ("http://good.example@evil.example/", None),
        ("http://good.example\\@evil.example/", None),
        ("http://good.example/ http://evil.example", None),
        ("http://[::1]:80/", None),
        ("amqp://u:p@h/", None),
        ("", None),
        ("a,,b", None),
        ("http://a,http://b/x", ("a", "b")),
    ],
)
def test_servers_are_read_where_every_client_reads_them_alike(text, hosts):
    assert servers_in(text) == hosts


def test_only_names_that_nobody_can_register_are_of_the_cluster():
    assert all(map(is_in_cluster, ["redis", "redis.ml.svc", "redis.ml.svc.cluster.local"]))
    assert not any(map(is_in_cluster, ["redis.ml", "evil.com", "svc.evil.com", "evilsvc.example"]))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1", "127.1", "0.0.0.0", "169.254.169.254", "2852039166"),
        *("0xa9fea9fe", "metadata.google.internal", "kubernetes.default.svc", "a.localhost"),
    ],
)
def test_what_only_keda_may_ask_is_known(host):
    assert is_nodes_own(host)
    assert not is_nodes_own(f"{host}.acme.example") or host.startswith(("127.", "169.254.", "0"))


@given(st.text(string.ascii_lowercase + "./*-", max_size=30), st.lists(TEXT, max_size=3))
def test_a_key_that_is_never_allowed_is_allowed_by_nothing(key, entries):
    if is_never_allowed(key):
        assert not allows_key(key, [*entries, key], {key.rpartition("/")[0]})
