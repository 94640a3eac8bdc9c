"""`create_api` with dicts and folders: what is wrong with a call, and what comes back from one."""

from __future__ import annotations

import copy

import pytest

import gitops_ml as gml
from gitops_ml.errors import InvalidDocument, UsageError
from gitops_ml.gitops.pull_request_body import pull_request_body
from tests.support.person import container_api, predictor_api

API = {"name": "iris", "kind": "RealtimeAPI"}


@pytest.fixture
def client(ann):
    ann.configures()
    return gml.client("staging", offline=True)


def test_a_wrong_api_is_told_with_its_path_and_without_a_line(client):
    api = container_api("iris", autoscaling={"min_replicas": 4, "max_replicas": 2}, compute=1)
    with pytest.raises(InvalidDocument) as wrong:
        client.create_api(api)
    assert all(line.startswith("iris.") for line in str(wrong.value).splitlines())
    assert "iris.compute: " in str(wrong.value)


def test_rules_between_fields_are_told_with_their_path(client):
    api = container_api("iris", autoscaling={"min_replicas": 4, "max_replicas": 2})
    with pytest.raises(InvalidDocument, match=r"^iris\.autoscaling\.\w+: .*"):
        client.create_api(api)


def test_a_value_that_yaml_cannot_hold_is_told_with_its_path(client):
    api = predictor_api("iris")
    api["predictor"]["config"]["when"] = object()
    with pytest.raises(InvalidDocument, match=r"^iris\.predictor\.config\.when: "):
        client.create_api(api, project_dir=".")


def test_the_dict_of_the_caller_is_left_alone(client, ann):
    ann.has(predictor_api("iris"))
    api = predictor_api("iris")
    before = copy.deepcopy(api)
    client.create_api(api, project_dir=ann.project, dry_run=True)
    assert api == before


def test_a_plan_changes_nothing_and_shows_what_would(client, ann):
    plan = client.create_api(container_api("iris"), dry_run=True)
    assert (plan.is_plan, plan.commit, plan.pull_request) == (True, None, None)
    assert "+  name: iris" in plan.diff or "+name: iris" in plan.diff
    assert "b/charts/" not in plan.diff
    assert plan.deployment_id in plan.diff
    assert ann.commits() == 0


def test_what_was_deployed_comes_back(client, ann):
    api = client.create_api(container_api("iris"), pull_request=False)
    assert api.commit == ann.head()
    assert api.deployment_id == ann.release("iris")["deployment_id"]
    assert (api.name, api.environment, api.namespace) == ("iris", "staging", "ml-staging")
    assert api.summary == f"committed {ann.head()[:12]}"


def test_deploying_twice_changes_nothing(client, ann):
    client.create_api(container_api("iris"), pull_request=False)
    before = ann.head()
    again = client.create_api(container_api("iris"), pull_request=False)
    assert (again.changes, again.summary, ann.head()) == ((), "nothing to change", before)


def test_code_has_one_place(client):
    with pytest.raises(UsageError, match="give only one of predictor and project_dir"):
        client.create_api(predictor_api("iris"), predictor=object, project_dir=".")
    with pytest.raises(UsageError, match=r"the code of the predictor of .* is missing"):
        client.create_api(predictor_api("iris"))
    with pytest.raises(UsageError, match=r"write requirements\.txt"):
        client.create_api(predictor_api("iris"), project_dir=".", requirements=["numpy"])


def test_an_instance_is_not_a_class(client):
    class PythonPredictor: ...

    def answer(): ...

    for predictor, words in (
        (PythonPredictor(), "an object of PythonPredictor"),
        (answer, r"the function \S*answer"),
    ):
        with pytest.raises(UsageError, match=f"must be a class, not {words}: "):
            client.create_api(API, predictor=predictor)


def test_a_list_of_one_is_that_api(client):
    assert client.create_api([container_api("iris")], dry_run=True).name == "iris"
    for several in ([], [API, API]):
        with pytest.raises(UsageError, match=r"takes one API, and the list has (none|2)"):
            client.create_api(several)


@pytest.mark.parametrize("given", ["x", None, 3, ["x"]])
def test_what_is_no_api_is_told_with_one_that_is(client, given):
    with pytest.raises(UsageError, match=r'such as \{"name": "iris", "kind": "RealtimeAPI"\}, not'):
        client.create_api(given)


def test_arguments_of_another_shape_are_told_with_the_right_one(client):
    class PythonPredictor: ...

    for wrong, words in (
        ({"requirements": [3]}, r"requirements must be a list of strings: .* not \[3\]"),
        ({"requirements": None}, "requirements must be a list of strings"),
        ({"requirements": ["six", "numpy; rm -rf"]}, "'numpy; rm -rf' is not a valid requirement"),
        ({"requirements": ["-r requirements.txt"]}, "'-r requirements.txt' names a file"),
        ({"requirements": ["six", "--constraint=c.txt"]}, "'--constraint=c.txt' names a file"),
        ({"models": ["a"]}, r"models must be a dict of names: .* not \['a'\]"),
        ({"models": {1: "a"}}, "models must be a dict of names"),
    ):
        with pytest.raises(UsageError, match=words):
            client.create_api(API, predictor=PythonPredictor, **wrong)
    for more in ({"predictor": PythonPredictor}, {"project_dir": ".", "models": {"m": "s3://b/m"}}):
        with pytest.raises(InvalidDocument, match=r"^iris\.predictor: "):
            client.create_api({**API, "predictor": "P"}, **more)


def test_a_patch_names_its_api_or_holds_the_name(client):
    client.create_api(container_api("iris"), pull_request=False)
    changes = {"compute": {"cpu": "300m"}}
    plain = client.patch("iris", changes, dry_run=True)
    as_in_cortex = client.patch({"name": "iris", **changes}, True, dry_run=True)
    assert plain.releases == as_in_cortex.releases
    assert plain.changes
    for wrong in (("iris",), ("iris", True), (changes,), ({"name": "iris"}, changes), (None,)):
        with pytest.raises(UsageError, match=r"no name of an API|patch needs a name"):
            client.patch(*wrong)
    with pytest.raises(UsageError, match=r"what should be changed\? Name the fields"):
        client.patch("iris", {})


@pytest.mark.parametrize(
    "name", ["../../../pwn/x", "..", "/pwn", "Two Bad", "ünï", "x\0y", "x" * 300, "", 3]
)
def test_a_name_that_is_none_is_refused_before_anything_is_written(client, tmp_path, name):
    class PythonPredictor: ...

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidDocument, match="name: "):
        client.create_api({"name": name, "kind": "RealtimeAPI"}, predictor=PythonPredictor)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_commit_of_a_notebook_says_where_it_is_from(client, ann):
    origin = {"notebook": "iris.ipynb", "cell": 7}
    client.create_api(container_api("iris"), pull_request=False, origin=origin)
    assert ann.release("iris")["provenance"]["origin"] == origin


ORIGIN = {"notebook": "iris `1`.ipynb", "cell": 7, "steps": [1, {"of": None}], "tried": True}


@pytest.mark.parametrize("origin", ["x.ipynb", {3: 1}, {"session": object()}])
def test_an_origin_that_no_document_can_hold_is_refused(client, ann, origin):
    with pytest.raises((UsageError, InvalidDocument), match="origin"):
        client.create_api(container_api("iris"), pull_request=False, origin=origin)
    assert ann.commits() == 0


def test_the_origin_is_named_by_trace_and_by_the_pull_request_whatever_its_values_are(client, ann):
    api = client.create_api(container_api("iris"), pull_request=False, origin=ORIGIN)
    shown = "notebook iris `1`.ipynb, cell 7, steps [1, {'of': None}], tried True"
    assert shown in str(client.trace(api.deployment_id))
    assert f" {shown}\n" in ann.runs("trace", api.deployment_id).out
    body = pull_request_body(api.changes, head="x")
    assert (
        "From notebook ``iris `1`.ipynb``, cell `7`, steps `[1, {'of': None}]`, tried `True`, "
        in body
    )
