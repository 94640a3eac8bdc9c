"""What a change means: file by file, object by object, field by field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.git.commits import Change
from gitops_ml.gitops.differences import FieldChange, ObjectChange, object_changes, unified_diff


def deployment(**spec: object) -> dict[str, object]:
    return {"kind": "Deployment", "metadata": {"name": "iris"}, "spec": spec}


def test_an_unchanged_object_is_not_a_change() -> None:
    assert object_changes([deployment(replicas=1)], [deployment(replicas=1)]) == ()


def test_a_new_field_differs_from_a_field_that_becomes_null() -> None:
    found = object_changes([deployment(a=1)], [deployment(a=None, b=None)])
    assert found == (
        ObjectChange(
            "Deployment",
            "iris",
            "modify",
            (
                FieldChange("spec.a", "modify", 1, None),
                FieldChange("spec.b", "add", None, None),
            ),
        ),
    )


def test_a_number_that_becomes_a_boolean_is_a_change() -> None:
    (found,) = object_changes([deployment(a=1)], [deployment(a=True)])
    assert found.fields == (FieldChange("spec.a", "modify", 1, True),)


def test_named_items_are_compared_by_name_whatever_their_order() -> None:
    old = deployment(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    new = deployment(env=[{"name": "B", "value": "3"}, {"name": "A", "value": "1"}])
    (found,) = object_changes([old], [new])
    assert found.fields == (FieldChange("spec.env[B].value", "modify", "2", "3"),)


def test_objects_that_come_and_go_are_named_without_their_fields() -> None:
    service = {"kind": "Service", "metadata": {"name": "iris"}}
    assert object_changes([service], [deployment()]) == (
        ObjectChange("Deployment", "iris", "add", ()),
        ObjectChange("Service", "iris", "delete", ()),
    )


def test_a_new_file_is_shown_as_git_shows_it() -> None:
    assert unified_diff(Change("a.yaml", None, b"x: 1\n")) == (
        "--- /dev/null\n+++ b/a.yaml\n@@ -0,0 +1 @@\n+x: 1\n"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, json_values)
def test_there_is_a_field_change_exactly_where_two_specs_differ(
    before: object, after: object
) -> None:
    found = object_changes([deployment(x=before)], [deployment(x=after)])
    assert bool(found) == (repr(before) != repr(after) and not _equal(before, after))


def _equal(a: object, b: object) -> bool:
    """Equal as JSON: mappings regardless of order, `1` is not `true`."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return type(a) is type(b) and a == b
