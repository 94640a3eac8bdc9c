"""Status, waiting, logs and predictions from Python."""

from __future__ import annotations

import pytest

import gitops_ml as gml
from gitops_ml.errors import NotLive, ServerFailed, UsageError
from tests.commands.test_logs import says
from tests.support import controllers as k8s
from tests.support.local_server import serving
from tests.support.person import container_api, predictor_api


@pytest.fixture
def client(life):
    life.ann.has(container_api("iris"))
    return gml.client("staging", offline=True)


def test_what_is_live_is_waited_for_and_says_so(life, client):
    api = client.create_api(container_api("iris"), pull_request=False)
    life.syncs()
    life.runs(k8s.ready(), k8s.ready())
    status = api.wait(timeout=1, interval=0)
    assert (status.state, status.is_live, status.ready, status.requested) == ("live", True, 2, 2)
    assert status.running_id == api.deployment_id
    assert repr(api.status()).splitlines()[0] == "iris in staging  [live]"
    assert "2 of 2" in status._repr_html_()


def test_create_api_waits_where_it_is_asked_to(life, client):
    client.create_api(container_api("iris"), pull_request=False)
    life.syncs()
    life.runs(k8s.ready())
    api = client.create_api(container_api("iris"), pull_request=False, wait=True)
    assert api.summary == "nothing to change"


def test_what_cannot_become_live_says_why_and_what_to_do(life, client):
    api = client.create_api(container_api("iris"), pull_request=False)
    life.syncs()
    life.runs(k8s.pull_backs_off("not found"))
    with pytest.raises(NotLive) as raised:
        api.wait(timeout=1, interval=0)
    assert raised.value.status == "error (image pull)"
    assert api.status().state == "error (image pull)"
    assert "what to do" in repr(api.status())


def test_an_outcome_waits_for_what_it_changed(life, client):
    client.create_api(container_api("iris"), pull_request=False)
    done = client.patch({"name": "iris", "compute": {"cpu": "300m"}}, pull_request=False)
    life.ann.has(container_api("iris", compute={"cpu": "300m"}))
    life.syncs()
    life.runs(k8s.ready())
    (status,) = done.wait(timeout=1, interval=0)
    assert status.running_id == done.releases[0].after


def test_every_verb_takes_wait(life, client):
    client.create_api(container_api("iris"), pull_request=False)
    how = {"pull_request": False, "wait": True, "timeout": 0}
    for verb in (
        lambda: client.patch("iris", {"compute": {"cpu": "300m"}}, **how),
        lambda: client.refresh("iris", **how),
        lambda: client.rollback("iris", **how),
        lambda: client.promote("iris", to="production", **how),
        lambda: client.create_api(container_api("iris"), **how),
    ):
        with pytest.raises(NotLive, match="seconds it is still pending"):
            verb()
    assert client.delete_api("iris", **how).action == "delete"


def test_current_releases_are_waited_for_by_name(life, client):
    client.create_api(container_api("iris"), pull_request=False)
    life.syncs()
    life.runs(k8s.ready())
    (status,) = client.wait_for("iris", timeout=0)
    assert status.is_live


def test_python_also_finds_out_before_the_commit(life, client):
    client.create_api(container_api("iris"), pull_request=False)
    before = life.ann.head()
    life.server.broken = True
    with pytest.raises(ServerFailed):
        client.refresh("iris", pull_request=False, wait=True)
    assert life.ann.head() == before


def test_a_plan_is_nothing_to_wait_for(client):
    plan = client.create_api(container_api("iris"), dry_run=True)
    with pytest.raises(UsageError, match="iris: there is nothing to wait for: this is a plan"):
        plan.wait()


ABOUT_ONE_API = {
    "get_api": lambda client: client.get_api("rose"),
    "get": lambda client: client.get("rose"),
    "status": lambda client: client.status("rose"),
    "predict": lambda client: client.predict("rose", {}),
    "logs": lambda client: client.logs("rose"),
    "history": lambda client: client.history("rose"),
    "predictions": lambda client: client.predictions("rose"),
    "patch": lambda client: client.patch("rose", {"compute": {"cpu": 1}}),
    "patch of nothing": lambda client: client.patch("rose", {}),
    "refresh": lambda client: client.refresh("rose"),
    "rollback": lambda client: client.rollback("rose"),
    "delete": lambda client: client.delete_api("rose"),
    "promote": lambda client: client.promote("rose", to="production"),
    "drift": lambda client: client.diff(live=True, api_names=["rose"]),
    "no code": lambda client: client.create_api(
        {"name": "rose", "kind": "RealtimeAPI", "predictor": {"path": "predictor.py"}}
    ),
    "a plan's wait": lambda client: client.create_api(container_api("rose"), dry_run=True).wait(),
    "a plan's logs": lambda client: client.create_api(container_api("rose"), dry_run=True).logs(),
}


@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["elsewhere", "here"])
@pytest.mark.parametrize("call", ABOUT_ONE_API.values(), ids=ABOUT_ONE_API)
def test_an_error_about_one_api_names_it(client, call, is_elsewhere):
    other = gml.client("production", offline=True) if is_elsewhere else client
    other.create_api(container_api("iris"), pull_request=False)
    with pytest.raises(UsageError, match="rose"):
        call(client)


def test_a_prediction_leads_back_to_its_deployment(life):
    life.ann.configures()
    life.deploys(predictor_api("iris"))
    api = gml.client("staging").get_api("iris")
    with serving(cwd=life.ann.project) as server:
        life.server.services["iris"] = server.address
        found = api.predict({"x": 21})
        there = api.predict({"x": 2}, address=server.address)
    assert (found.value, found.deployment_id) == ({"answer": 42}, "iris-local")
    assert "{'answer': 42}" in repr(found)
    assert (there.value, there.url) == ({"answer": 4}, f"{server.address}/predict")
    with pytest.raises(UsageError, match="iris-local"):
        found.trace()


def test_logs_are_text(life, client):
    api = client.create_api(container_api("iris"), pull_request=False)
    life.syncs()
    life.runs(k8s.ready())
    says(life, 0, (0, "hello"), (1, "there"))
    assert str(api.logs()) == "hello\nthere\n"
    assert str(api.logs(tail=1)) == "there\n"
