"""What can go wrong with a model between its store and memory.

RuntimeFailure
├── NotFound
│   └── UnknownModel      no model or version of that name
├── ModelUnavailable      it exists, and could not be fetched or loaded
│   ├── StoreError        the store refused, or gave something other than it promised
│   │   └── StoreBusy     it did not answer, or not to the end; asking again may help
│   └── LoadFailed        its files are here, and cannot be made into a model
└── StartFailure
    └── MissingExtra      a library that only this kind of model needs is not installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor_base.errors import NotFound, RuntimeFailure, StartFailure

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownModel(NotFound):
    """No model, or no version of it, has that name; the message lists those that are there."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        listed = ", ".join(known) or "none"
        super().__init__(f"{wanted} is not there; the ones that are: {listed}")


class ModelUnavailable(RuntimeFailure):
    """A model that exists could not be fetched or loaded."""


class StoreError(ModelUnavailable):
    """The store refused, or gave something other than it promised."""


class StoreBusy(StoreError):
    """The store did not answer, or not to the end; asking again may help."""


class LoadFailed(ModelUnavailable):
    """The files are here, and cannot be made into a model."""


class MissingExtra(StartFailure):
    """A library that only this kind of model needs is not installed."""

    def __init__(self, what: str, *, package: str) -> None:
        super().__init__(f"{what} needs the package {package}; add it to requirements.txt")
