"""The models in memory: loaded once, found fast, replaced while they serve.

One listing of the stores is a *round*. A change is adopted only when the next round finds the
same, because an upload of several files is not atomic. A new latest version is fetched and loaded
before it replaces the old one, so no request waits for it; a version that cannot be loaded
replaces nothing.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

from predictor_base.errors import LoadFailed, ModelUnavailable, UnknownModel
from predictor_base.models.disk_cache import DiskCache
from predictor_base.models.versions import SINGLE_MODEL, Catalog, ModelVersion, Source, find_models

Model = TypeVar("Model")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Model]):
    model: Model
    version: ModelVersion
    loaded_at: float
    """Seconds since the epoch."""


class Library(Generic[Model]):
    def __init__(
        self,
        sources: Sequence[Source],
        *,
        load: Callable[[Path, ModelVersion], Model],
        disk_cache: DiskCache,
        cache_size: int | None = None,
        interval: float = 10.0,
        drop: Callable[[Loaded[Model]], None] = lambda _: None,
    ) -> None:
        self._sources = sources
        self._load = load
        self._drop = drop
        self._disk_cache = disk_cache
        self._cache_size = cache_size
        self._interval = interval
        self.catalog: Catalog = {}
        self._seen: tuple[Catalog, ...] = ()
        self._refused: set[str] = set()
        self._loaded: OrderedDict[str, Loaded[Model]] = OrderedDict()
        self._asked_by_number: set[tuple[str, int]] = set()
        self._lock = Lock()
        self._loading: dict[str, Lock] = {}
        self._stop = Event()
        self._thread: Thread | None = None

    def open(self) -> None:
        """Find the models, load the latest version of each unless memory is limited, and watch the stores."""
        self._look_once()
        if self._cache_size is None:
            for versions in self.catalog.values():
                latest = versions[max(versions)]
                _ = self._in_memory(latest) or self._bring(latest)
        self._thread = Thread(target=self._watch, name="model-reload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching; models in memory stay usable for requests that hold them."""
        self._stop.set()
        self._disk_cache.close()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def loaded(self) -> tuple[Loaded[Model], ...]:
        with self._lock:
            return tuple(self._loaded.values())

    def get(self, name: str | None, number: int | None) -> Loaded[Model]:
        """This version of the model, or its latest; loaded now if it is not in memory."""
        if not self._seen:
            self._look_once()
        versions = self._versions(name)
        version = versions.get(max(versions) if number is None else number)
        if version is None:
            raise UnknownModel(f"version {number} of the model", map(str, sorted(versions)))
        if number is not None:
            self._asked_by_number.add(version.key)
        return self._in_memory(version) or self._bring(version)

    def _versions(self, name: str | None) -> Mapping[int, ModelVersion]:
        catalog = self.catalog
        if len(catalog) == 1 and (name is None or SINGLE_MODEL in catalog):
            return next(iter(catalog.values()))
        if name is None:
            raise UnknownModel("a model without model_name", sorted(catalog))
        if name not in catalog:
            raise UnknownModel(f"the model {name!r}", sorted(catalog))
        return catalog[name]

    def _in_memory(self, version: ModelVersion) -> Loaded[Model] | None:
        found = self._loaded.get(version.fingerprint)
        if found is not None and self._cache_size is not None:
            with self._lock:
                if version.fingerprint in self._loaded:
                    self._loaded.move_to_end(version.fingerprint)
        return found

    def _bring(self, version: ModelVersion) -> Loaded[Model]:
        """The version, fetched and loaded by the first caller while the others wait."""
        with self._lock:
            only_one = self._loading.setdefault(version.fingerprint, Lock())
        try:
            with only_one:
                found = self._in_memory(version)
                if found is None:
                    found = self._load_from_disk(version)
                    self._keep(found)
                return found
        finally:
            self._loading.pop(version.fingerprint, None)

    def _load_from_disk(self, version: ModelVersion) -> Loaded[Model]:
        started = time.monotonic()
        with self._disk_cache.borrow(version) as path:
            try:
                model = self._load(path, version)
            except Exception as error:
                raise LoadFailed(f"{version}: {type(error).__name__}: {error}") from error
        logger.info("model %s loaded in %.2f s", version, time.monotonic() - started)
        return Loaded(model, version, time.time())

    def _keep(self, loaded: Loaded[Model]) -> None:
        with self._lock:
            self._loaded[loaded.version.fingerprint] = loaded
            room = self._cache_size or len(self._loaded)
            excess = [self._loaded.popitem(last=False)[1] for _ in range(len(self._loaded) - room)]
            in_memory = tuple(self._loaded)
        for each in excess:
            self._drop(each)
        self._disk_cache.trim(keep=in_memory)

    # -- rounds ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.look_again()
            except Exception:
                # the models in memory still serve, and the next round may succeed
                logger.exception("models could not be checked for new versions")

    def _look_once(self) -> None:
        self._seen = tuple(find_models(source) for source in self._sources)
        self.catalog = _merged(self._seen)

    def look_again(self) -> None:
        """One round: adopt what this round and the last one both found."""
        seen, self._seen = self._seen, tuple(map(self._look_into, self._sources, self._seen))
        known, found, last = self.catalog, _merged(self._seen), _merged(seen)
        for name in sorted(found.keys() | known.keys()):
            before = known.get(name, {})
            after = self._after(before, found=found.get(name, {}), last=last.get(name, {}))
            self.catalog = {
                **{each: versions for each, versions in self.catalog.items() if each != name},
                **({name: after} if after else {}),
            }
        self._sweep(known)

    def _look_into(self, source: Source, last: Catalog) -> Catalog:
        try:
            return find_models(source)
        except ModelUnavailable as error:
            logger.warning("the models do not change: %s", error)
            return last

    def _after(
        self,
        before: Mapping[int, ModelVersion],
        *,
        found: Mapping[int, ModelVersion],
        last: Mapping[int, ModelVersion],
    ) -> Mapping[int, ModelVersion]:
        """The versions that serve after this round; loads those that requests would wait for."""
        after = {number: before[number] for number in before if number in found or number in last}
        is_hot = self._cache_size is None or any(
            version.fingerprint in self._loaded for version in before.values()
        )
        for number, version in sorted(found.items()):
            is_settled = _same(version, last.get(number))
            if _same(version, before.get(number)) or not is_settled:
                continue
            is_latest = number == max(found)
            if (
                not (is_hot and is_latest) and not self._is_loaded(before.get(number))
            ) or self._is_brought(version):
                after[number] = version
        if is_hot and after:
            self._is_brought(after[max(after)])
        return after

    def _is_loaded(self, version: ModelVersion | None) -> bool:
        return version is not None and version.fingerprint in self._loaded

    def _is_brought(self, version: ModelVersion) -> bool:
        if self._is_loaded(version):
            return True
        if version.fingerprint in self._refused:
            return False
        try:
            self._bring(version)
        except ModelUnavailable as error:
            logger.exception("model %s does not replace the current version", version)
            if isinstance(error, LoadFailed):
                self._refused.add(version.fingerprint)
            return False
        return True

    def _sweep(self, known: Catalog) -> None:
        """Drop versions that are no longer served, and former latest versions that no request named."""
        served = {
            version.fingerprint: self._cache_size is not None
            or number == max(versions)
            or version.key in self._asked_by_number
            for versions in self.catalog.values()
            for number, version in versions.items()
        }
        with self._lock:
            unwanted = [each for each in self._loaded if not served.get(each)]
            dropped = [self._loaded.pop(fingerprint) for fingerprint in unwanted]
        for each in dropped:
            self._drop(each)
        for versions in known.values():
            for version in versions.values():
                if version.fingerprint not in served:
                    self._disk_cache.discard(version.fingerprint)


def _same(one: ModelVersion, other: ModelVersion | None) -> bool:
    return other is not None and one.fingerprint == other.fingerprint


def _merged(catalogs: Sequence[Catalog]) -> dict[str, Mapping[int, ModelVersion]]:
    return {name: versions for catalog in catalogs for name, versions in catalog.items()}
