"""The choice of a store by location."""

from __future__ import annotations

import inspect

import pytest

from predictor_base.models.stores.store import RemoteStore, Store, name_on_disk, open_store

LOCATIONS = {
    "s3": "s3://models/iris/3",
    "gs": "gs://models/iris/3",
    "hf": "hf://acme/iris@main/folder",
    "https": "https://models.example/iris%20one.onnx",
    "http": "http://models.example/iris.onnx",
    "file": "file:///models/iris",
}


@pytest.mark.parametrize("scheme", LOCATIONS)
def test_a_scheme_may_be_written_in_capitals(scheme: str) -> None:
    if scheme in ("s3", "gs", "hf"):
        pytest.importorskip(
            {"s3": "boto3", "gs": "google.cloud.storage", "hf": "huggingface_hub"}[scheme]
        )
    location = LOCATIONS[scheme]
    written, found = open_store(location), open_store(location.replace(scheme, scheme.upper(), 1))
    assert (type(found), found.location) == (type(written), written.location)
    assert getattr(found, "folder", None) == getattr(written, "folder", None)
    assert name_on_disk(found.location) == name_on_disk(written.location)


@pytest.mark.parametrize("kind", [Store, RemoteStore])
def test_a_store_that_lacks_an_operation_cannot_be_made(kind: type[Store]) -> None:
    assert inspect.isabstract(kind)
