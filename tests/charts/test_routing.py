"""How requests come in: HTTPRoute or Ingress, and whom the NetworkPolicy lets through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Render = Callable[..., Any]

GATEWAY = {"type": "httpRoute", "path": "/iris", "gateway": {"name": "public"}}


def test_nothing_leads_in_from_outside_unless_asked(render: Render) -> None:
    assert not {"HTTPRoute", "Ingress"} & render().kinds


def test_everything_below_the_prefix_is_forwarded_without_it(render: Render) -> None:
    gateway = {"name": "public", "namespace": "gateways", "sectionName": "https"}
    route = {**GATEWAY, "gateway": gateway, "hosts": ["ml.acme.example"], "timeoutSeconds": 90}
    assert render({"route": route}).one("HTTPRoute")["spec"] == {
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", **gateway}],
        "hostnames": ["ml.acme.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/iris"}}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {
                            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
                        },
                    }
                ],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "iris", "port": 80, "weight": 1}
                ],
                "timeouts": {"request": "90s"},
            }
        ],
    }


def test_the_root_is_not_rewritten(render: Render) -> None:
    (rule,) = render({"route": {**GATEWAY, "path": "/"}}).one("HTTPRoute")["spec"]["rules"]
    assert "filters" not in rule


@pytest.mark.parametrize("path", ["iris", "/iris/", "//iris", "", "/i ris", "/iris?x", "/(iris)"])
def test_a_path_that_a_route_could_not_match_is_refused(refused: Render, path: str) -> None:
    assert "/route/path" in refused({"route": {"path": path}})


def test_with_the_add_on_the_route_leads_to_the_interceptor_under_the_releases_own_host(
    render: Render,
) -> None:
    addon = {"enabled": True, "namespace": "add-on", "readinessTimeoutSeconds": 300}
    values = {"route": GATEWAY, "autoscaling": {"enabled": True, "httpAddon": addon}}
    rendered = render(values)
    (rule,) = rendered.one("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [
        {
            "group": "",
            "kind": "Service",
            "name": "keda-add-ons-http-interceptor-proxy",
            "namespace": "add-on",
            "port": 8080,
            "weight": 1,
        }
    ]
    host = rule["filters"][0]["urlRewrite"]["hostname"]
    assert rendered.one("InterceptorRoute")["spec"]["rules"] == [{"hosts": [host]}]
    # The gateway may not give up while the interceptor still holds the request.
    assert rule["timeouts"] == {"request": "360s"}


def test_a_gateway_has_a_name(refused: Render) -> None:
    assert "needs route.gateway.name" in refused({"route": {"type": "httpRoute"}})


def ingress(**values: Any) -> dict[str, Any]:
    return {
        "route": {"type": "ingress", "path": "/v1.0/iris", "hosts": ["ml.acme.example"]},
        "networkPolicy": {"gatewayNamespace": "ingress"},
        **values,
    }


def test_an_ingress_forwards_the_path_as_it_is_unless_told_how_to_rewrite(render: Render) -> None:
    rendered = render(ingress())
    (rule,) = rendered.one("Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == (
        "ml.acme.example",
        "/v1.0/iris",
        "Prefix",
    )
    assert "the container sees /v1.0/iris/" in rendered.notes


def test_ingress_nginx_takes_the_prefix_off_by_its_annotations(render: Render) -> None:
    values = ingress()
    values["route"]["ingress"] = {
        "rewrite": "nginx",
        "className": "nginx",
        "tlsSecret": "tls",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "64m"},
    }
    rendered = render(values).one("Ingress")
    assert rendered["spec"]["tls"] == [{"secretName": "tls", "hosts": ["ml.acme.example"]}]
    assert rendered["spec"]["ingressClassName"] == "nginx"
    (path,) = rendered["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == (r"/v1\.0/iris(/|$)(.*)", "ImplementationSpecific")
    annotations = rendered["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/rewrite-target"] == "/$2"
    assert annotations["nginx.ingress.kubernetes.io/use-regex"] == "true"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "60"
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "64m"


def test_an_ingress_without_hosts_is_for_all_of_them(render: Render) -> None:
    values = ingress()
    values["route"]["hosts"] = []
    (rule,) = render(values).one("Ingress")["spec"]["rules"]
    assert "host" not in rule


def test_an_ingress_whose_controller_nobody_would_let_in_is_refused(refused: Render) -> None:
    values = ingress(networkPolicy={})
    assert "needs networkPolicy.gatewayNamespace" in refused(values)


def test_an_ingress_cannot_lead_to_the_interceptor(refused: Render) -> None:
    values = ingress(autoscaling={"enabled": True, "httpAddon": {"enabled": True}})
    assert "an Ingress cannot use" in refused(values)


def let_in(rendered: Any) -> list[Any]:
    rules = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert all(rule["from"] for rule in rules), "a rule without peers lets everybody in"
    return [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        if "namespaceSelector" in peer
        else peer
        for rule in rules
        for peer in rule["from"]
    ]


STRICT = {"allowSameNamespace": False, "prometheusNamespace": "monitoring"}
ADDON = {"enabled": True, "httpAddon": {"enabled": True, "namespace": "add-on"}}
PROMETHEUS = {"enabled": True, "inFlight": {"prometheus": {"address": "http://p"}}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["monitoring"]),
        ({"autoscaling": {"enabled": True}}, ["monitoring", "keda"]),
        ({"autoscaling": PROMETHEUS}, ["monitoring"]),
        (
            {"route": {**GATEWAY, "gateway": {"name": "g", "namespace": "gws"}}},
            ["gws", "monitoring"],
        ),
        ({"route": GATEWAY}, ["ml", "monitoring"]),
        ({"route": GATEWAY, "autoscaling": {**PROMETHEUS, **ADDON}}, ["add-on", "monitoring"]),
    ],
)
def test_exactly_those_who_have_business_are_let_in(
    render: Render, values: dict[str, Any], expected: list[str]
) -> None:
    assert let_in(render({"networkPolicy": STRICT, **values})) == expected


def test_the_gateways_pods_may_live_elsewhere_than_the_gateway(render: Render) -> None:
    policy = {**STRICT, "gatewayNamespace": "envoy-gateway-system"}
    rendered = render({"route": GATEWAY, "networkPolicy": policy})
    assert let_in(rendered) == ["envoy-gateway-system", "monitoring"]


def test_further_callers_are_named(render: Render) -> None:
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    assert let_in(render({"networkPolicy": {"from": [web]}})) == [{"podSelector": {}}, web]


def test_nobody_means_nobody(render: Render) -> None:
    policy = render({"networkPolicy": {"allowSameNamespace": False}}).one("NetworkPolicy")
    assert policy["spec"]["ingress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress"]


def test_calls_out_are_free_until_they_are_restricted_to_dns_and_rules(render: Render) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]}
    policy = {"egress": {"restricted": True, "rules": [rule]}}
    spec = render({"networkPolicy": policy}).one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, own = spec["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert own == rule


def test_the_policy_can_be_left_to_others(render: Render) -> None:
    assert "NetworkPolicy" not in render({"networkPolicy": {"enabled": False}}).kinds


def test_metrics_are_found_by_a_pod_monitor_or_by_annotations(
    render: Render, refused: Render
) -> None:
    monitor = render({"podMonitor": {"enabled": True, "labels": {"release": "p"}}})
    found = monitor.one("PodMonitor")
    assert found["metadata"]["labels"]["release"] == "p"
    assert found["spec"]["podMetricsEndpoints"] == [
        {"port": "http", "path": "/metrics", "interval": "15s"}
    ]
    marked = render({"metrics": {"scrapeAnnotations": True}, "container": {"port": 9000}})
    annotations = marked.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "9000"
    assert annotations["prometheus.io/scrape"] == "true"
    nowhere = {"metrics": {"path": ""}, "podMonitor": {"enabled": True}}
    assert "need a metrics.path" in refused(nowhere)
