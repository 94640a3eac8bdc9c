from __future__ import annotations

import pytest

from gitops_ml.cluster.endpoint import Endpoint, endpoint_of, prediction_path, timeout_of
from gitops_ml.project.project import GatewaySpec


def gateway(address: str | None = None) -> GatewaySpec:
    return GatewaySpec(
        type="gateway-api", name="public", namespace="gateways", section=None, hosts=(),
        address=address, ingress_class=None, tls_secret=None,
    )  # fmt: skip


def route(*hosts: str, path: str = "/iris", type: str = "httpRoute"):
    return {"route": {"type": type, "path": path, "hosts": list(hosts)}}


@pytest.mark.parametrize(
    ("values", "address", "expected"),
    [
        (route("ml.example.org"), None, Endpoint("https://ml.example.org/iris", None)),
        (route("ml.example.org", path="/"), None, Endpoint("https://ml.example.org", None)),
        (route("*.a.example", "b.example"), None, Endpoint("https://b.example/iris", None)),
        (route("*.a.example"), None, Endpoint("https://iris.a.example/iris", None)),
        (
            route("ml.example.org"),
            "http://10.0.0.80:8080/",
            Endpoint("http://10.0.0.80:8080/iris", "ml.example.org"),
        ),
        (route(), "http://10.0.0.80", Endpoint("http://10.0.0.80/iris", None)),
        (route(), None, None),
        (route("ml.example.org", type="none"), None, None),
        ({}, None, None),
    ],
)
def test_an_api_is_called_at_its_host_or_at_the_gateways_address(values, address, expected):
    assert endpoint_of("iris", values, gateway(address)) == expected


def test_without_a_gateway_there_is_no_endpoint():
    assert endpoint_of("iris", route("ml.example.org"), None) is None


def test_a_prediction_is_asked_for_at_our_own_path_or_at_a_containers_root():
    assert prediction_path({"runtime": {"type": "python"}}) == "/predict"
    assert prediction_path({}) == "/"
    assert timeout_of({"route": {"timeoutSeconds": 5}}) == 5
    assert timeout_of({}) == 60
