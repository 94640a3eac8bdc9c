"""The values as people meet them: explained, closed against typos, and described in the README."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHART = Path(__file__).resolve().parents[2] / "charts" / "predictor"
VALUES = (CHART / "values.yaml").read_text()
UPDATE = "GITOPS_ML_UPDATE_GOLDEN" in os.environ
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

FREE_FORM = {
    "global",
    "runtime.config",
    "scheduling.affinity.nodeAffinity",
    "scheduling.affinity.podAffinity",
    "scheduling.affinity.podAntiAffinity",
}
"""Objects that take any key: the user's own, or too much of Kubernetes to write down again."""


def explained() -> Iterator[tuple[str, str, str]]:
    """Each key of values.yaml with its dotted path, its value as written and the comment above."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in VALUES.splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment.append(text[1:].strip())
            continue
        key = re.fullmatch(r"( *)([A-Za-z]+):(.*)", line)
        if key and not any(name == "tolerations" for _, name in path if _ < len(key[1])):
            path = [(indent, name) for indent, name in path if indent < len(key[1])]
            path.append((len(key[1]), key[2]))
            yield ".".join(name for _, name in path), key[3].strip(), " ".join(comment)
        comment = []


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rpartition("/")[2]] if reference else schema


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that the schema describes, inside lists too (as ``name[]``)."""
    schema = resolved(schema)
    for branch in schema.get("anyOf", ()):
        yield from objects(branch, path)
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")
    if "object" in schema.get("type", ()):
        yield path, schema
        for name, inner in schema.get("properties", {}).items():
            yield from objects(inner, f"{path}.{name}".lstrip("."))


def every_schema(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for inner in schema.values():
            yield from every_schema(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from every_schema(inner)


def test_the_defaults_fit_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(VALUES))


def test_every_value_is_explained() -> None:
    assert [path for path, _, comment in explained() if not comment.endswith((".", ")"))] == []


def test_values_and_schema_name_the_same_keys_in_the_same_order() -> None:
    def check(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        known = [key for key in schema["properties"] if key in values]
        assert list(values) == known, path
        for key, value in values.items():
            inner = resolved(schema["properties"][key])
            if isinstance(value, dict) and "properties" in inner and value:
                check(value, inner, f"{path}.{key}")

    check(yaml.safe_load(VALUES), SCHEMA, "")
    assert set(yaml.safe_load(VALUES)) == set(SCHEMA["properties"])


def test_the_schema_is_closed_at_every_level() -> None:
    authentication = {
        f"{place}.authentication.{kind}"
        for place in ("autoscaling.triggers[]", "autoscaling.inFlight.prometheus")
        for kind in (
            "podIdentity",
            "hashiCorpVault",
            "azureKeyVault",
            "awsSecretManager",
            "gcpSecretManager",
            "oauth2",
        )
    }
    free = {
        path
        for path, schema in objects(SCHEMA)
        if schema.get("additionalProperties") in (None, True)
    }
    assert free == FREE_FORM | authentication


def test_every_number_has_bounds() -> None:
    for schema in every_schema(SCHEMA):
        kinds = schema.get("type", ())
        if {"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds):
            assert "maximum" in schema, schema
            assert {"minimum", "exclusiveMinimum"} & schema.keys(), schema


def test_helm_3_understands_the_schema_too() -> None:
    newer = {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired", "minContains"}
    for schema in every_schema(SCHEMA):
        assert not newer & schema.keys()
        pattern = schema.get("pattern", "")
        if isinstance(pattern, str):
            assert "(?" not in pattern, "Go's regular expressions know no lookahead"


OPEN = {path for path, schema in objects(SCHEMA) if "properties" in schema and "[]" not in path}


@pytest.mark.parametrize("path", sorted(OPEN))
def test_an_unknown_key_is_refused_wherever_it_stands(
    refused: Callable[..., str], path: str
) -> None:
    values: dict[str, Any] = {"tpyo": 1}
    for name in reversed(path.split(".") if path else []):
        values = {name: values}
    sentence = refused(values)
    assert "tpyo" in sentence
    assert "not allowed" in sentence


def test_a_parent_chart_may_share_its_globals(render: Callable[..., Any]) -> None:
    assert render({"global": {"anything": {"at": "all"}}}).objects == render().objects


def test_the_chart_asks_no_cluster_and_depends_on_nothing() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert metadata["apiVersion"] == "v2"
    assert "dependencies" not in metadata
    for template in sorted((CHART / "templates").iterdir()):
        text = re.sub(r"{{-? */\*.*?\*/}}|\"[^\"]*\"", "", template.read_text(), flags=re.DOTALL)
        actions = " ".join(re.findall(r"{{.*?}}", text, re.DOTALL))
        assert not re.search(
            r"(?<![.\w])(tpl|lookup|now|rand\w+|gen\w+|uuidv4|env)\b|Capabilities", actions
        )


def test_each_helper_carries_the_charts_name() -> None:
    for template in sorted((CHART / "templates").glob("_*.tpl")):
        names = re.findall(r'define "([^"]+)"', template.read_text())
        assert names
        assert all(name.startswith("predictor.") for name in names)


def table() -> str:
    """The table of values in the README."""
    rows = ["| value | default | |", "|---|---|---|"]
    for path, default, comment in explained():
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{path}` | {shown} | {comment.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def test_the_readme_tells_every_value() -> None:
    readme = CHART / "README.md"
    prose, heading, _ = readme.read_text().partition("## Values\n")
    expected = f"{prose}{heading}\n{table()}"
    if UPDATE:
        readme.write_text(expected)
    assert readme.read_text() == expected, "run the tests with GITOPS_ML_UPDATE_GOLDEN=1"
