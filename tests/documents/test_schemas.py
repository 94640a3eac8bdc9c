"""The schemas explain themselves, the fast check of them is the library's, and they state the defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gitops_ml.documents.json_schema import compile_check, load_schema, resolve_reference
from gitops_ml.system.resources import schema_text

API = load_schema("api")


def test_what_is_not_said_comes_from_the_schema():
    filled = API.with_defaults({"predictor": {"path": "p.py"}})
    assert filled["autoscaling"] == {
        "min_replicas": 1,
        "max_replicas": 100,
        "init_replicas": None,
        "target_in_flight": None,
        "window": "60s",
        "downscale_stabilization_period": "5m",
        "upscale_stabilization_period": "1m",
        "max_downscale_factor": 0.75,
        "max_upscale_factor": 1.5,
        "downscale_tolerance": 0.05,
        "upscale_tolerance": 0.05,
        "schedule": [],
        "triggers": [],
        "cooldown_period": "5m",
        "scale_to_zero": None,
        "fallback_replicas": None,
    }
    assert (filled["compute"]["cpu"], filled["compute"]["mem"]) == ("200m", "1Gi")
    assert filled["update_strategy"] == {
        "type": None,
        "max_surge": "25%",
        "max_unavailable": "25%",
        "preflight": "import",
    }
    assert filled["predictor"]["type"] == "python"
    assert (filled["monitoring"], "container" in filled) == (None, False)


def test_what_is_said_stays_and_null_means_not_said():
    filled = API.with_defaults({"compute": {"cpu": "2", "mem": None, "node_groups": None}})
    compute = filled["compute"]
    assert (compute["cpu"], compute["mem"], compute["node_groups"]) == ("2", "1Gi", [])


def test_items_of_lists_are_filled_too():
    given = {"autoscaling": {"schedule": [{"start": "a", "end": "b", "replicas": 1}]}}
    assert API.with_defaults(given)["autoscaling"]["schedule"][0]["timezone"] == "UTC"


def test_free_form_parts_and_overrides_stay_as_they_are():
    given = {"predictor": {"config": {"a": None}}, "environments": {"x": {"compute": {"gpu": 1}}}}
    filled = API.with_defaults(given)
    assert filled["predictor"]["config"] == {"a": None}
    assert filled["environments"] == {"x": {"compute": {"gpu": 1}}}


NAMES = ["api", "project", "user"]


def properties(schema: Any, root: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Every property that a document can have, with what its `$ref` says merged in."""
    schema = merged(schema, root)
    for name, inner in schema.get("properties", {}).items():
        yield f"{at}.{name}", merged(inner, root)
        yield from properties(inner, root, f"{at}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from properties(schema[key], root, f"{at}.*")


def merged(schema: Any, root: Any) -> Any:
    """A schema with what its `$ref` says below its own words, as our defaults see it too."""
    if "$ref" not in schema:
        return schema
    target = merged(resolve_reference(root, schema["$ref"]), root)
    own = schema.get("properties", {})
    below = {
        name: {**inner, **own.get(name, {})} for name, inner in target.get("properties", {}).items()
    }
    return {**target, **schema, **({"properties": {**own, **below}} if below else {})}


def all_properties(name: str) -> dict[str, Any]:
    document = json.loads(schema_text(name))
    return dict(properties(document, document, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_a_json_schema(name):
    Draft202012Validator.check_schema(json.loads(schema_text(name)))


@pytest.mark.parametrize("name", NAMES)
def test_every_property_has_a_description_and_examples_that_are_valid(name):
    document = load_schema(name).document
    for path, schema in all_properties(name).items():
        assert schema.get("description"), path
        assert schema["description"].endswith((".", ".)")), path
        examples = schema.get("examples") or schema.get("items", {}).get("examples")
        assert examples or "additionalProperties" in schema or "properties" in schema, path
        is_valid = compile_check({"$defs": document.get("$defs", {}), **schema})
        for example in schema.get("examples", ()):
            assert is_valid(example) or "required" in schema, (path, example)


@pytest.mark.parametrize("name", NAMES)
def test_every_default_is_valid(name):
    document = load_schema(name).document
    for path, schema in all_properties(name).items():
        if "default" in schema:
            is_valid = compile_check({"$defs": document.get("$defs", {}), **schema})
            assert is_valid(schema["default"]), path


@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_closed_but_those_that_are_free_by_nature(name):
    free = {"config", "overrides", "affinity", "authentication", "nodeAffinity", "podAffinity"}
    free |= {"request", "response"}
    for path, schema in all_properties(name).items():
        if "object" in str(schema.get("type")) and path.rsplit(".", 1)[1] not in free:
            assert "additionalProperties" in schema or path.endswith("podAntiAffinity"), path


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_schema_is_valid(name):
    schema = load_schema(name)
    for example in schema.document["examples"]:
        assert list(schema.findings(example)) == []


EXAMPLE_API = load_schema("api").document["examples"][0][0]
FULL = (
    load_schema("api")
    .definition("api")
    .with_defaults(
        {
            **EXAMPLE_API,
            "monitoring": {"model_type": "regression"},
            "secrets": [{"env": "A", "name": "b", "key": "c"}],
        }
    )
)
VALUES = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 1.5, 1.0, "", "x", "x\n", "1m", "10s", [], ["x"], [1], {}),
        *({"a": 1}, {"path": "x.py"}, {"x": "y"}, 10**9, "RealtimeAPI", "25%", "/a", "a" * 70),
        {"production": {}},
    ]
)


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in inner:
        yield from places(value, (*at, key))


@given(st.data())
def test_the_fast_check_says_what_the_library_says(data):
    document = copy.deepcopy([FULL])
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([place for place in places(document) if place]))
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        if isinstance(parent, dict) and data.draw(st.booleans()):
            parent[
                data.draw(st.sampled_from(["extra", "path", "image", "min_replicas", "name\n"]))
            ] = copy.deepcopy(data.draw(VALUES))
        elif isinstance(parent, dict) and data.draw(st.booleans()):
            del parent[path[-1]]
        else:
            # A value that is put into itself would have no end.
            parent[path[-1]] = copy.deepcopy(data.draw(VALUES))
    schema = load_schema("api")
    library = next(schema._validator.iter_errors(document), None)
    assert schema.is_valid(document) is (library is None), library
    assert bool(list(schema.findings(document))) is (library is not None)


def test_the_fast_check_takes_1_0_for_no_whole_number_wherever_a_schema_wants_one():
    whole = compile_check({"properties": {"type": {"anyOf": [{"type": ["integer", "string"]}]}}})
    assert [whole({"type": value}) for value in (1, "1", 1.0, 1e3)] == [True, True, False, False]
    assert compile_check({"type": ["integer", "number"], "enum": [{"type": "integer"}, 1.0]})(1.0)


NOT_JSON = [float("nan"), float("inf"), {1: 2}, (1,), date(2020, 1, 1), 10**400, b"x", object()]


@pytest.mark.parametrize(
    "value", [*NOT_JSON, "\ud800", {"\ud800": 1}], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("path", [("autoscaling", "min_replicas"), ("predictor", "config"), ()])
def test_what_json_does_not_have_is_checked_as_by_the_library(value, path):
    document: Any = [
        {**EXAMPLE_API, "predictor": {"path": "x.py", "config": {}}, "autoscaling": {}}
    ]
    parent = document[0]
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1] if path else "name"] = value if path[-1:] != ("config",) else {"a": value}
    schema = load_schema("api")
    library = not any(True for _ in schema._validator.iter_errors(document))
    assert schema.is_valid(document) is library is (path == ("predictor", "config"))


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "file:///etc/passwd", "other.json"])
def test_a_schema_does_not_make_us_read_another_document(address):
    with pytest.raises(ValueError, match="present in a registry"):
        compile_check({"$id": "http://127.0.0.1:9/y", "$ref": address})
