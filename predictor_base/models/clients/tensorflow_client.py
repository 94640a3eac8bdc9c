"""`tensorflow_client`: models that TensorFlow Serving runs in another container, over REST.

    class TensorFlowPredictor:
        def __init__(self, tensorflow_client, config):
            self.client = tensorflow_client

        def predict(self, payload):
            return self.client.predict(payload)["class_ids"][0]

The signature is the manifest's signatureKey, or else the only one, `predict` or `serving_default`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from predictor_base.errors import BadRequest, LoadFailed, UnknownModel
from predictor_base.models.clients.model_client import LibraryClient, version_number
from predictor_base.models.clients.serving_rest import ServingRest
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.stores.download import Count
from predictor_base.models.versions import SINGLE_MODEL, ModelVersion
from predictor_base.settings import Models, Settings

LOAD_SECONDS = 600.0
"""How long TensorFlow Serving may take to load a model."""


class TensorflowClient:
    """A client of TensorFlow Serving; `load` waits until it has loaded the models."""

    def __init__(self, settings: Settings) -> None:
        self._rest = ServingRest(settings.tensorflow_serving.address)
        self._signature_keys = _signature_keys(settings)
        self._signature_key = settings.models.signature_key if settings.models else None
        self._default_model = settings.served_name
        self._signatures: dict[tuple[str, int | None], str] = {}
        self._stop = Event()

    def load(self, predictor: object) -> None:
        """Wait until every named model is available."""
        for name in self._signature_keys:
            self._rest.wait_until_available(name, None, seconds=LOAD_SECONDS, stop=self._stop)

    def close(self) -> None:
        self._stop.set()
        self._rest.close()

    def describe(self) -> dict[str, Any]:
        described = {}
        for name in self._signature_keys:
            numbers = self._rest.available_versions(name)
            described[name] = {"versions": [str(each) for each in numbers]}
        return described

    def predict(
        self,
        model_input: Mapping[str, Any],
        model_name: str | None = None,
        model_version: str | int | None = "latest",
        *,
        nested: bool = False,
    ) -> dict[str, Any]:
        """The outputs by name: flat lists as in Cortex, or shaped as the tensors are if `nested`.

        Raises:
            BadRequest: TensorFlow Serving does not accept the input.
            UnknownModel: the model or version does not exist.
            ModelUnavailable: TensorFlow Serving does not answer.
        """
        name, number = self._served(model_name, model_version)
        signature = self._signature(name, number)
        if not isinstance(model_input, Mapping):
            raise BadRequest("the input of a TensorFlow model is an object of named tensors")
        outputs = self._rest.predict(name, number, signature=signature, inputs=model_input)
        if nested:
            return outputs
        return {key: list(_flat(value)) for key, value in outputs.items()}

    def _served(
        self, model_name: str | None, model_version: str | int | None
    ) -> tuple[str, int | None]:
        """The name and number that TensorFlow Serving knows; None for its latest version."""
        return self._name(model_name), version_number(model_version)

    def _name(self, model_name: str | None) -> str:
        names = tuple(self._signature_keys)
        if self._default_model in names or (model_name is None and not names):
            return self._default_model
        if model_name is None and len(names) == 1:
            return names[0]
        if model_name is None or (names and model_name not in names):
            raise UnknownModel(f"the model {model_name or 'without model_name'}", names)
        return model_name

    def _signature(self, name: str, number: int | None) -> str:
        # a new version may have other signatures, but the manifest decides which one is used
        key = (name, number)
        if key not in self._signatures:
            wanted = self._signature_keys.get(name) or self._signature_key
            self._signatures[key] = wanted or choose_signature(self._rest.signatures(name, number))
        return self._signatures[key]


class PublishingClient(TensorflowClient):
    """A client that publishes models, and new versions, to TensorFlow Serving's container.

    `tensorflowServing.modelDir` is a folder that both containers see. TensorFlow Serving finds
    the models through a model configuration file, which it reads again every few seconds with these options:
    `--model_config_file=<modelDir>/models.config --model_config_file_poll_wait_seconds=5`.
    """

    def __init__(
        self, settings: Settings, models: Models, *, model_dir: Path, count: Count, interval: float
    ) -> None:
        super().__init__(settings)
        self._model_dir = model_dir
        self._published: set[str] = set()
        # beside the models, so that fetched files survive a restart of this container
        disk_cache = DiskCache(model_dir / ".fetched", size=models.disk_cache_size, count=count)
        self._library = LibraryClient(
            models,
            load=self._publish,
            disk_cache=disk_cache,
            interval=interval,
            drop=lambda loaded: self._remove(loaded.model, loaded.version),
        )

    def load(self, predictor: object) -> None:
        """Publish the models and wait until TensorFlow Serving has loaded them."""
        self._write_config()
        self._library.load(predictor)

    def close(self) -> None:
        super().close()
        self._library.close()

    def describe(self) -> dict[str, Any]:
        return self._library.describe()

    def _served(
        self, model_name: str | None, model_version: str | int | None
    ) -> tuple[str, int | None]:
        """The version as it is published; publishes it first if necessary."""
        found = self._library._get(model_name, model_version).version
        return self._serving_name(found), found.number

    def _serving_name(self, version: ModelVersion) -> str:
        return self._default_model if version.model == SINGLE_MODEL else version.model

    def _publish(self, path: Path, version: ModelVersion) -> Path:
        name = self._serving_name(version)
        folder = self._model_dir / name / str(version.number)
        marker = _marker(folder, version)
        if folder.exists() and not marker.exists():
            # it compares numbers only, so other content under the same number would never be served
            raise ValueError("TensorFlow Serving cannot replace a version: store it as a new one")
        if not folder.exists():
            self._put(folder, path, version)
        self._published.add(name)
        self._write_config()
        try:
            self._rest.wait_until_available(
                name, version.number, seconds=LOAD_SECONDS, stop=self._stop
            )
        except LoadFailed:
            if not self._stop.is_set():
                # so that the same number can be corrected in the store
                self._remove(folder, version)
            raise
        return folder

    def _put(self, folder: Path, path: Path, version: ModelVersion) -> None:
        partial = folder.with_name(f".{version.number}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        # fetched files never change, so a link is enough; local files may change
        is_fetched = version.store.local_path(version.root) is None
        copy = _link_or_copy if is_fetched else shutil.copy2
        shutil.copytree(path, partial, copy_function=copy)
        _marker(folder, version).touch()
        try:
            partial.rename(folder)
        except OSError:
            # another process of this replica was faster
            shutil.rmtree(partial)
            if not folder.exists():
                raise

    def _remove(self, folder: Path, version: ModelVersion) -> None:
        gone = folder.with_name(f".{folder.name}.gone-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # another process of this replica was faster
            folder.rename(gone)
        _marker(folder, version).unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)
        self._signatures.pop((folder.parent.name, version.number), None)

    def _write_config(self) -> None:
        """Write the model configuration file, which TensorFlow Serving reads every few seconds."""
        self._model_dir.mkdir(parents=True, exist_ok=True)
        text = config_text({name: self._model_dir / name for name in sorted(self._published)})
        file = self._model_dir / "models.config"
        partial = file.with_name(".models.config.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)


def choose_signature(found: Iterable[str]) -> str:
    """The only signature, or `predict`, or `serving_default`, in this order."""
    names = sorted(name for name in found if not name.startswith("__"))
    if len(names) == 1:
        return names[0]
    for name in ("predict", "serving_default"):
        if name in names:
            return name
    raise LoadFailed(f"signatureKey must be one of the model's signatures: {', '.join(names)}")


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _signature_keys(settings: Settings) -> dict[str, str | None]:
    """The models that TensorFlow Serving must have, each with a signature of its own."""
    models = settings.models
    if models is None or models.path:
        return {settings.served_name: None}
    return {each.name: each.signature_key for each in models.paths}


def _marker(folder: Path, version: ModelVersion) -> Path:
    """The file beside the version's folder that identifies its content."""
    return folder.with_name(f".{folder.name}.{version.fingerprint[:32]}")


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def config_text(folders: Mapping[str, Path]) -> str:
    """TensorFlow Serving's ModelServerConfig, in protobuf's text format."""
    entries = "".join(
        "  config {\n"
        f"    name: {json.dumps(name)}\n"
        f"    base_path: {json.dumps(str(folder.absolute()))}\n"
        '    model_platform: "tensorflow"\n'
        "    model_version_policy { all {} }\n"
        "  }\n"
        for name, folder in folders.items()
    )
    return f"model_config_list {{\n{entries}}}\n"
