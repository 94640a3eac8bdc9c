"""GitOps deployment of ML prediction APIs: a manifest and a predictor in, a release in Git out.

>>> import gitops_ml as gml
>>> client = gml.client("staging")                                  # doctest: +SKIP
>>> client.create_api({"name": "iris", "kind": "RealtimeAPI"}, predictor=MyPredictor)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gitops_ml import errors
from gitops_ml._version import __version__
from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from gitops_ml.client import Api, Client, client, deploy_from_flow

__all__ = ["Api", "Client", "GitopsMlError", "__version__", "client", "deploy_from_flow", "errors"]

_OF_THE_CLIENT = frozenset({"Api", "Client", "client", "deploy_from_flow"})


def __getattr__(name: str) -> Any:
    """Import the names of the Python client on first use: `import gitops_ml` stays cheap."""
    if name in _OF_THE_CLIENT:
        return getattr(importlib.import_module("gitops_ml.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing the package `gitops_ml.client` must not hide the function `client`.
        if not (name == "client" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return __all__
