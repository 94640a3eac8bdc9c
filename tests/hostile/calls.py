"""Functions of gitops-ml that are called without the command: with a patience that does not wait."""

from __future__ import annotations
