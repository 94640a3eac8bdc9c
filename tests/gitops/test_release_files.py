"""The files of a release: the same bytes every time, read alike by everybody."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops_ml.git.commits import RenderedFile
from gitops_ml.gitops.release_files import (
    Release,
    ReleaseText,
    chart_files,
    environment_files,
    objects_text,
    release_files,
)
from gitops_ml.gitops.release_yaml import (
    Provenance,
    chart_of,
    deployment_id_of,
    destination_of,
    image_of,
    images_of,
    project_of,
    read_fields,
    rendered_as,
    split_provenance,
)
from gitops_ml.helm.charts import Chart
from gitops_ml.oci.reference import ImageRef
from gitops_ml.project.reader import default_project
from tests.support import pipeline
from tests.support.edited_files import EDITS
from tests.support.pipeline import DIGEST, PROJECT, api, as_yaml, merged, text_of

NOW = Provenance("https://git.example/src.git", "c" * 40, False, "ann", "1.2.3")
LATER = Provenance("https://git.example/src.git", "d" * 40, True, "bob", "1.3.0")


def release(text: ReleaseText) -> Release:
    return Release(
        name="iris",
        environment="staging",
        team="ml",
        namespace="ml",
        image=ImageRef("ghcr.io/acme/iris", "h-1", DIGEST),
        content_hash=None,
        chart=Chart("predictor", "1.0.0", "1", ()),
        text=text,
    )


def written(
    text: ReleaseText, *, provenance: Provenance = NOW, previous: bytes | None = None
) -> bytes:
    facts, _ = release_files(release(text), provenance=provenance, previous=previous)
    assert facts.path == "releases/staging/iris/release.yaml"
    return facts.content


def facts_of(text: ReleaseText, **options: Any) -> Any:
    return as_yaml(written(text, **options).decode())


# -- release.yaml ----------------------------------------------------------------------------------


def test_release_yaml_says_what_is_deployed_and_where_it_comes_from() -> None:
    text = text_of(api())
    assert facts_of(text) == {
        "name": "iris",
        "environment": "staging",
        "team": "ml",
        "namespace": "ml-staging",
        "server": "https://kubernetes.default.svc",
        "project": "acme",
        "deployment_id": text.deployment_id,
        "chart": {"name": "predictor", "version": "1.0.0"},
        "image": {
            "repository": "ghcr.io/acme/ml/iris",
            "tag": "h-0123456789abcdef0123",
            "digest": DIGEST,
        },
        "content_hash": "ab" * 32,
        "manifest_file": "api.yaml",
        "manifest": api(),
        "provenance": {
            "repository": "https://git.example/src.git",
            "commit": "c" * 40,
            "dirty": False,
            "author": "ann",
            "gitops_ml": "1.2.3",
        },
    }


def test_no_top_level_key_hides_what_the_generator_knows_itself() -> None:
    """Argo CD's git generator adds `path`; a key of that name would be lost."""
    assert "path" not in facts_of(text_of(api()))


def test_every_key_that_the_application_set_reads_is_there() -> None:
    import re

    from gitops_ml.gitops.argo import application_set

    project = pipeline.project_of()
    environment = project.environments["staging"]
    assert project.gitops is not None
    document = application_set(environment, project.gitops)
    facts = facts_of(text_of(api()))
    for path in set(re.findall(r"\{\{ \.([a-z_.]+) \}\}", str(document))):
        found = facts
        for step in path.split("."):
            found = found[step]
        assert isinstance(found, str), path


HOSTILE = """\
- name: iris
  kind: RealtimeAPI
  predictor:
    path: predictor.py
    config:
      prompt: |
        provenance:
        deployment_id: iris-000000000000
        project: other

        provenance:
          commit: forged
      again: "\\nprovenance:\\n  commit: x\\n"
      "provenance:\\n": 1
      ? |
        provenance:
        deployment_id: iris-111111111111
      : 2
  annotations: {"acme.example/x": "\\nimage:\\n  repository: evil\\n"}
"""


def test_a_manifest_cannot_forge_what_is_read_from_its_release() -> None:
    text = text_of(HOSTILE)
    first = written(text)
    assert as_yaml(first.decode())["manifest"] == as_yaml(HOSTILE)[0]
    assert deployment_id_of(first.decode()) == text.deployment_id
    assert project_of(first.decode()) == "acme"
    assert image_of(first.decode()) == ImageRef(
        "ghcr.io/acme/ml/iris", "h-0123456789abcdef0123", DIGEST
    )
    assert written(text, provenance=LATER, previous=first) == first


def test_provenance_is_kept_while_the_deployment_is_the_same() -> None:
    text = text_of(api())
    first = written(text)
    assert written(text, provenance=LATER, previous=first) == first
    other = text_of(api(compute={"cpu": "2"}))
    rewritten = as_yaml(written(other, provenance=LATER, previous=first).decode())
    assert rewritten["provenance"]["author"] == "bob"
    assert rewritten["provenance"]["dirty"] is True


def test_facts_that_change_without_the_deployment_are_written_and_provenance_kept() -> None:
    first = written(text_of(api()))
    commented = text_of(api(autoscaling={"max_replicas": 100}))
    assert commented.deployment_id == text_of(api()).deployment_id
    second = as_yaml(written(commented, provenance=LATER, previous=first).decode())
    assert second["manifest"]["autoscaling"] == {"max_replicas": 100}
    assert second["provenance"]["author"] == "ann"


@pytest.mark.parametrize(
    "previous", [b"", b"\xff\xfe", b"deployment_id: x\n", b"provenance:\n", b"{}", b"\n\n"]
)
def test_a_damaged_release_yaml_is_written_again(previous: bytes) -> None:
    text = text_of(api())
    assert written(text, previous=previous) == written(text)


MISREAD = ["no", "null", "y", "e3", "true", "on", "n"]


@pytest.mark.parametrize("word", MISREAD)
def test_names_that_yaml_would_misread_are_read_back(word: str) -> None:
    words = merged(
        PROJECT,
        {"project": word, "default_team": word, "environments": {"staging": {"namespace": "1e3"}}},
    )
    text = text_of(api(name=word), pipeline.project_of(words))
    content = written(text).decode()
    facts = as_yaml(content)
    assert [facts[key] for key in ("name", "project", "team", "namespace")] == [
        word, word, word, "1e3",
    ]  # fmt: skip
    assert project_of(content) == word
    assert deployment_id_of(content) == text.deployment_id
    values = as_yaml(text.values)
    assert (values["api"]["name"], values["api"]["team"]) == (word, word)


@pytest.mark.parametrize(
    "image",
    [
        f"127.0.0.1:5000/ml/iris:1.0@{DIGEST}",
        f"ghcr.io/acme/iris@{DIGEST}",
        f"localhost:5000/x:null@{DIGEST}",
        f"redis:7@{DIGEST}",
        f"a/b:1e3@{DIGEST}",
    ],
)
def test_an_image_is_read_back_whatever_yaml_makes_of_its_name(image: str) -> None:
    content = written(text_of(api(container={"image": image}))).decode()
    assert image_of(content) == ImageRef.parse(image)


def test_an_image_without_a_digest_is_none_that_could_be_deployed_again() -> None:
    assert image_of(written(text_of(api(container={"image": "a/b:1"}))).decode()) is None


@given(
    config=st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.text(max_size=40)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(10**18) + 1, 10**18 - 1),
        max_size=3,
    )
)
def test_any_config_is_read_back_and_its_provenance_kept(config: dict[str, Any]) -> None:
    text = text_of(api(predictor={"config": config}))
    first = written(text)
    assert as_yaml(first.decode())["manifest"]["predictor"]["config"] == config
    assert written(text, provenance=LATER, previous=first) == first


# -- the other files -------------------------------------------------------------------------------


def test_a_release_has_its_manifest_in_that_mode_only() -> None:
    text = text_of(api())
    names = [file.path for file in release_files(release(text), provenance=NOW, previous=None)]
    assert names == [f"releases/staging/iris/{name}.yaml" for name in ("release", "values")]
    more = release_files(release(text), provenance=NOW, previous=None, manifests=b"---\n")
    assert more[-1] == RenderedFile("releases/staging/iris/manifest.yaml", b"---\n")


def test_the_order_in_which_things_are_named_does_not_matter() -> None:
    project = pipeline.project_of(merged(PROJECT, {"teams": {"b": {}, "a": {}}}))
    every = [
        environment_files(project, environments, teams, others={})
        for environments in itertools.permutations(["staging", "production"])
        for teams in itertools.permutations(["x", "a", "y"])
    ]
    assert len(set(every)) == 1
    assert [file.path for file in every[0]] == [
        "argocd/production.yaml",
        "argocd/projects/a.yaml",
        "argocd/projects/b.yaml",
        "argocd/projects/x.yaml",
        "argocd/projects/y.yaml",
        "argocd/staging.yaml",
    ]


def test_without_a_gitops_repository_argo_cd_has_nothing_to_read() -> None:
    project = default_project()
    assert environment_files(project, ["default"], ["ml"], others={}) == ()


def test_a_chart_is_written_below_its_version() -> None:
    chart = Chart("predictor", "1.2.0", "1", (RenderedFile("templates/a.yaml", b"x"),))
    assert chart_files([chart]) == (RenderedFile("charts/predictor/1.2.0/templates/a.yaml", b"x"),)


def test_objects_are_a_stream_in_the_order_of_helm() -> None:
    objects = [{"kind": "B", "a": "no"}, {"kind": "A"}]
    assert list(yaml.safe_load_all(objects_text(objects))) == objects


def test_values_are_the_same_as_data_and_as_yaml() -> None:
    import json

    text = text_of(HOSTILE)
    assert json.loads(text.data) == as_yaml(text.values)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "read",
    [
        project_of, deployment_id_of, destination_of, chart_of, image_of, images_of, rendered_as,
        lambda content: read_fields(split_provenance(content)[1]),
    ],
)  # fmt: skip
def test_each_field_is_read_whatever_an_editor_made_of_the_record(read, edit):
    record = written(text_of(api())).decode()
    assert read(EDITS[edit](record).encode()) == read(record)
    assert read(record)
