"""Every field that is accepted reaches the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gitops_ml.documents.json_schema import load_schema, resolve_reference
from tests.pipeline.container_fields import CONTAINER_FIELDS
from tests.pipeline.operation_fields import OPERATION_FIELDS
from tests.pipeline.runtime_fields import RUNTIME_FIELDS
from tests.support.manifest_parts import container, predictor, scaled
from tests.support.pipeline import api, check_objects, findings_of, rendered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_ml.project.project import Project

FIELDS = {**RUNTIME_FIELDS, **CONTAINER_FIELDS, **OPERATION_FIELDS}
IN_THE_IMAGE = "goes into the image, whose digest is in the Deployment"
WARNED = "has no effect, and the check says so"
OF_ALERTS = "is in the rules where the cluster has alerts (test_observability.py), and elsewhere the check says so"
EXEMPT = {
    "predictor.python_version": IN_THE_IMAGE,
    "predictor.image": IN_THE_IMAGE,
    "predictor.dependencies.pip": IN_THE_IMAGE,
    "predictor.dependencies.conda": IN_THE_IMAGE,
    "predictor.dependencies.shell": IN_THE_IMAGE,
    "predictor.dependencies.system": IN_THE_IMAGE,
    "predictor.multi_model_reloading.signature_key": "is refused: python models have no signatures",
    "predictor.multi_model_reloading.paths[].signature_key": "is refused, as above",
    "autoscaling.init_replicas": WARNED,
    "networking.tls_secret": "is of an Ingress, and without one it has no effect and the check says so",
    "slo.availability": OF_ALERTS,
    **{f"slo.latency.p{percentile}": OF_ALERTS for percentile in (50, 90, 95, 99)},
    "environments": "is laid over all of these",
}
GAUGE = {"metrics_path": "/m", "in_flight_metric": "busy"}
"""A container with these counts its requests itself, and has no proxy."""
OTHER_KINDS = ("definition", "apis")
VERBATIM = frozenset({"readiness_probe", "liveness_probe", "pre_stop", "affinity", "tolerations"})
"""Written in Kubernetes' own words, and handed on whole."""


def leaves(schema: Any, root: Any, path: str = "") -> Iterator[str]:
    """The paths of a schema's properties that have none of their own."""
    while "$ref" in schema:
        target = resolve_reference(root, schema["$ref"])
        schema = {**target, **{k: v for k, v in schema.items() if k not in ("$ref", "properties")}}
    for name, inner in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        if name in VERBATIM or at in OTHER_KINDS or at == "environments":
            if at not in OTHER_KINDS:
                yield at
            continue
        found = list(leaves(inner, root, at))
        yield from found or [at]
    if isinstance(schema.get("items"), dict):
        yield from leaves(schema["items"], root, f"{path}[]")


def test_the_table_has_every_field_of_a_realtime_api() -> None:
    document = load_schema("api").document
    found = set(leaves(document["$defs"]["api"], document))
    assert len(found) > 100
    assert found == {*FIELDS, *EXEMPT}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_accepted_reaches_the_cluster(field: str, everything: Project) -> None:
    words, see, expected = FIELDS[field]
    release = rendered(api(**words), everything)
    assert see(release) == expected
    check_objects(release.objects)


@pytest.mark.parametrize(
    "words",
    [
        scaled(init_replicas=3),
        container(max_queue_length=5, **GAUGE),
        container(max_concurrency=5, **GAUGE),
        {"networking": {"tls_secret": "iris-tls"}},
        predictor(inline="never"),
    ],
    ids=["init_replicas", "max_queue_length", "max_concurrency", "tls_secret", "inline"],
)
def test_what_has_no_effect_is_not_accepted_in_silence(
    words: dict[str, Any], everything: Project
) -> None:
    ((section, inner),) = words.items()
    found = {f.path: f.severity for f in findings_of(api(**words), everything)}
    (name,) = [each for each in inner if each not in {"image", *GAUGE}]
    assert found[(section, name)] == "warning"
