"""A host and path have one owner; a path within another's belongs to the same team."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.gitops import routes
from gitops_ml.gitops.routes import Route, RouteIndex, conflict, route_of
from tests.support.edited_files import EDITS
from tests.support.pipeline import api, project_of, rendered

OTHER = Route(
    directory="releases/production/fraud",
    project="bank",
    team="fraud",
    server="https://kubernetes.default.svc",
    gateway=("gateway", "public", "gateways", ""),
    hosts=("ml.acme.example",),
    path="/iris",
)
OURS = replace(OTHER, directory="releases/staging/iris", project="shop", team="ml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "ml.acme.example/iris already belongs to releases/production/fraud (project bank, team fraud)"),
        ({"hosts": ()}, "*/iris is within ml.acme.example/iris"),
        ({"hosts": ("a.example", "ml.acme.example")}, "already belongs to"),
        ({"hosts": ("*.acme.example",)}, "is within"),
        ({"path": "/iris/admin"}, "/iris/admin is within ml.acme.example/iris, which belongs to"),
        ({"path": "/"}, "ml.acme.example/ has ml.acme.example/iris within it"),
        ({"gateway": ("gateway", "public", "gateways", "https")}, "already belongs to"),
        ({"team": "fraud"}, "already belongs to"),
        ({"team": "fraud", "path": "/iris/x"}, "is within"),
    ],
    ids=str,
)  # fmt: skip
def test_a_route_of_another_release_is_refused_with_its_name(changes, message):
    found = conflict(replace(OURS, **changes), OTHER)
    assert found is not None
    assert message in found


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/iris2"},
        {"path": "/irises/x"},
        {"hosts": ("ml2.acme.example",)},
        {"hosts": ("x.ml.acme.example",)},
        {"server": "https://10.0.0.1:6443"},
        {"gateway": ("gateway", "private", "gateways", "")},
        {"gateway": ("ingress", "nginx")},
    ],
    ids=str,
)
def test_a_route_beside_another_is_free(changes):
    assert conflict(replace(OURS, **changes), OTHER) is None


def test_two_listeners_of_a_gateway_are_two_doors():
    https, admin = (("gateway", "public", "gateways", name) for name in ("https", "admin"))
    assert conflict(replace(OURS, gateway=https), replace(OTHER, gateway=admin)) is None


def test_a_team_may_put_paths_within_its_own():
    own = replace(OTHER, directory="releases/production/admin", path="/iris/admin")
    assert conflict(own, OTHER) is None
    assert conflict(replace(own, path="/iris"), OTHER) is not None


def test_an_api_is_not_in_its_own_way():
    assert conflict(OURS, OURS) is None
    assert conflict(OURS, replace(OURS, directory="releases/production/iris")) is None


NAMES = st.sampled_from(["a", "b", "*", "", "a.b", "*.b", "b.", ".a"])
ROUTES = st.builds(
    replace,
    st.just(OTHER),
    directory=st.sampled_from([f"releases/e/{number}" for number in range(9)]),
    team=st.sampled_from("xy"),
    gateway=st.sampled_from([OTHER.gateway, (*OTHER.gateway[:3], "https"), ("ingress", "nginx")]),
    hosts=st.lists(st.lists(NAMES, min_size=1, max_size=3).map(".".join), max_size=2).map(tuple),
    path=st.lists(st.sampled_from(["/", "a", "/a", "b", "", "a/"]), max_size=4).map("".join),
)


@given(st.lists(ROUTES, max_size=9))
def test_an_index_finds_the_conflicts_that_a_look_at_each_route_finds(others):
    index = RouteIndex(others)
    for own in others:
        expected = [sentence for each in others if (sentence := conflict(own, each))]
        assert [*index.conflicts(own)] == expected


@pytest.mark.parametrize("differ", ["hosts", "path"])
def test_a_route_is_compared_with_few_of_many(differ, monkeypatch):
    values = {"hosts": [(f"m{n}.acme.example",) for n in range(300)],
              "path": [f"/models/{n}" for n in range(300)]}[differ]  # fmt: skip
    many = [
        replace(OTHER, directory=f"releases/e/{n}", **{differ: v}) for n, v in enumerate(values)
    ]
    compared = []
    monkeypatch.setattr(routes, "conflict", lambda own, other: compared.append((own, other)))
    index = RouteIndex(many)
    assert not [sentence for own in many for sentence in index.conflicts(own)]
    assert len(compared) == len(many), "each with itself only"


@pytest.mark.parametrize("type_", ["gateway-api", "ingress"])
def test_the_route_is_read_from_what_we_write(type_):
    gateway = {"type": type_, "name": "public", "namespace": "gateways", "hosts": ["a.example"]}
    project = project_of({
        "project": "shop",
        "clusters": {"main": {"gateway": gateway}},
        "environments": {"staging": {"namespace": "ml"}},
    })  # fmt: skip
    text = rendered(api(networking={"endpoint": "/v1/iris"}), project).text
    found = route_of("releases/staging/iris", facts=text.facts, values=text.values)
    door = (
        ("gateway", "public", "gateways", "") if type_ == "gateway-api" else ("ingress", "public")
    )
    assert found == Route(
        directory="releases/staging/iris", project="shop", team="ml",
        server="https://kubernetes.default.svc", gateway=door, hosts=("a.example",), path="/v1/iris",
    )  # fmt: skip


@pytest.mark.parametrize(
    "values", ["", "route: {}\n", "route:\n  type: none\n", "route:\n  type: httpRoute\n", "route:\n  [\n"]
)  # fmt: skip
def test_a_release_without_a_route_has_no_conflict(values):
    facts = 'team: ml\nnamespace: ml\nserver: "https://x"\nproject: shop\n'
    assert route_of("releases/staging/iris", facts=facts, values=values) is None


@pytest.mark.parametrize("edit", EDITS)
def test_a_route_is_found_whatever_an_editor_made_of_the_files(edit):
    text = rendered(api(networking={"endpoint": "/v1/iris"})).text
    before, after = (
        route_of("releases/staging/iris", facts=change(text.facts), values=change(text.values))
        for change in (str, EDITS[edit])
    )
    assert before == after is not None
