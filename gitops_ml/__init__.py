"""GitOps deployment of ML prediction APIs: a manifest and a predictor in, a release in Git out.

>>> import gitops_ml as gml
>>> client = gml.client("staging")                                  # doctest: +SKIP
>>> client.create_api({"name": "iris", "kind": "RealtimeAPI"}, predictor=MyPredictor)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_ml import errors
from gitops_ml._version import __version__
from gitops_ml.errors import GitopsMlError

if TYPE_CHECKING:
    from gitops_ml.client import Api, Client, client, deploy_from_flow

__all__ = ["Api", "Client", "GitopsMlError", "__version__", "client", "deploy_from_flow", "errors"]

_OF_THE_CLIENT = frozenset({"Api", "Client", "client", "deploy_from_flow"})


def __getattr__(name: str) -> Any:
    """The Python client's names, imported when they are asked for: `import gitops_ml` costs nothing."""
    if name in _OF_THE_CLIENT:
        from gitops_ml import client as python_client

        return getattr(python_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
