"""Custom resources held to the strict schemas of their definitions.

`crd_schemas/<group>_<version>_<Kind>.json` holds the structure of the CustomResourceDefinitions, without
descriptions and closed at every level: Argo CD 3.5.1, KEDA 2.20.2 and its HTTP add-on 0.15.0, Gateway API
1.6.1, Prometheus Operator 0.93.0, External Secrets and Grafana Operator 5.21.4.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

FOLDER = Path(__file__).with_name("crd_schemas")


def check_custom_resource(document: Any) -> None:
    """Fail where the API server of a cluster with this definition would refuse the object."""
    _validator(document["apiVersion"], document["kind"]).validate(document)


def scaler_parameters() -> dict[str, dict[str, Any]]:
    """KEDA's own description of its triggers: type → parameter name → parameter."""
    described: dict[str, dict[str, Any]] = json.loads((FOLDER / "keda-scalers.json").read_text())
    return described


@functools.cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    text = (FOLDER / f"{api_version.replace('/', '_')}_{kind}.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))
