"""GitOps deployment of ML prediction APIs: a manifest and a predictor in, a release in Git out."""

from gitops_ml._version import __version__

__all__ = ["__version__"]
