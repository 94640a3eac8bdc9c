"""The first import of a library by a thread."""

from __future__ import annotations

import threading

FIRST_IMPORT = threading.RLock()
"""Held while a large library is imported in a function that several threads may call. Two threads that import two
libraries which both import a third one, as docker and kubernetes import requests, may each see half of it."""
