"""Custom resources held to the strict schemas of their definitions."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

FOLDER = Path(
    os.environ.get(
        "GITOPS_ML_CRD_SCHEMAS",
        Path(__file__).resolve().parents[2] / "shared" / "crd-schemas",
    )
)


def check_custom_resource(document: Any) -> None:
    """Fail where the API server of a cluster with this definition would refuse the object."""
    if not FOLDER.is_dir():
        pytest.skip(
            f"no strict JSON Schemas of custom resources in {FOLDER}; GITOPS_ML_CRD_SCHEMAS names "
            "the folder (<group>_<version>_<Kind>.json)"
        )
    _validator(document["apiVersion"], document["kind"]).validate(document)


@functools.cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    text = (FOLDER / f"{api_version.replace('/', '_')}_{kind}.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))
