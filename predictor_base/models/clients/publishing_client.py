"""Publish models, and new versions, to TensorFlow Serving's container.

`tensorflowServing.modelDir` is a folder that both containers see. TensorFlow Serving finds
the models through a model configuration file, which it reads again every few seconds with these options:
`--model_config_file=<modelDir>/models.config --model_config_file_poll_wait_seconds=5`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from predictor_base.errors import LoadFailed
from predictor_base.models.clients.model_client import LibraryClient
from predictor_base.models.clients.tensorflow_client import TensorflowClient
from predictor_base.models.versions import SINGLE_MODEL, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from predictor_base.models.clients.serving_rest import ServingRest
    from predictor_base.models.disk_cache import DiskCache
    from predictor_base.models.model_library import Loaded
    from predictor_base.settings import Models


@dataclass(frozen=True, slots=True)
class Published:
    folder: Path
    """The folder that TensorFlow Serving sees as this version."""


class PublishingClient(TensorflowClient):
    """A client that fetches models and publishes them to TensorFlow Serving."""

    def __init__(
        self,
        rest: ServingRest,
        models: Models,
        *,
        model_dir: Path,
        disk_cache: DiskCache,
        default_model: str,
        interval: float = 10.0,
        load_seconds: float = 600.0,
    ) -> None:
        names = (default_model,) if models.path else tuple(each.name for each in models.paths)
        keys: dict[str, str | None] = dict.fromkeys(names, models.signature_key)
        keys.update(
            {each.name: each.signature_key or models.signature_key for each in models.paths}
        )
        super().__init__(
            rest, signature_keys=keys, default_model=default_model, load_seconds=load_seconds
        )
        self._model_dir = model_dir
        self._published: set[str] = set()
        self._library = LibraryClient(
            models,
            load=self._publish,
            disk_cache=disk_cache,
            interval=interval,
            drop=self._withdraw,
        )

    def load(self, predictor: object) -> None:
        """Publish the models and wait until TensorFlow Serving has loaded them."""
        self._write_config()
        self._library.load(predictor)
        self._is_loaded = True

    def close(self) -> None:
        super().close()
        self._library.close()

    def describe(self) -> dict[str, Any]:
        return self._library.describe()

    def predict(
        self,
        model_input: Mapping[str, Any],
        model_name: str | None = None,
        model_version: str | int | None = "latest",
        *,
        nested: bool = False,
    ) -> dict[str, Any]:
        """As `TensorflowClient.predict`; publishes the version first if necessary."""
        found = self._library._get(model_name, model_version).version
        name = self._serving_name(found)
        return super().predict(model_input, name, found.number, nested=nested)

    def _name(self, model_name: str | None) -> str:
        return model_name or self._default_model

    def _serving_name(self, version: ModelVersion) -> str:
        return self._default_model if version.model == SINGLE_MODEL else version.model

    def _publish(self, path: Path, version: ModelVersion) -> Published:
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
                name, version.number, seconds=self._load_seconds, stop=self._stop
            )
        except LoadFailed:
            if not self._stop.is_set():
                # so that the same number can be corrected in the store
                self._remove(folder, version)
            raise
        return Published(folder)

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

    def _withdraw(self, loaded: Loaded[Published]) -> None:
        self._remove(loaded.model.folder, loaded.version)

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
