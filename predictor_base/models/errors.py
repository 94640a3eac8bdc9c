"""Failures of models between the store and memory.

RuntimeFailure
├── NotFound
│   └── UnknownModel      the model or version does not exist
├── ModelUnavailable      it could not be fetched or loaded
│   ├── StoreError        the store refused, or sent other bytes than it listed
│   │   └── StoreBusy     it did not answer completely; a retry may help
│   └── LoadFailed        its files cannot be loaded as a model
└── StartFailure
    └── MissingExtra      a library that only this kind of model needs is not installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor_base.errors import NotFound, RuntimeFailure, StartFailure

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownModel(NotFound):
    """The model or version does not exist; the message lists the available ones."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"{wanted} does not exist; the known ones are: {listed}")


class ModelUnavailable(RuntimeFailure):
    """A model could not be fetched or loaded."""


class StoreError(ModelUnavailable):
    """The store refused, or sent other bytes than it listed."""


class StoreBusy(StoreError):
    """The store did not answer completely; a retry may help."""


class LoadFailed(ModelUnavailable):
    """The files cannot be loaded as a model."""


class MissingExtra(StartFailure):
    """A library that only this kind of model needs is not installed."""

    def __init__(self, what: str, *, package: str) -> None:
        super().__init__(f"{what} needs the package {package}; add it to requirements.txt")
