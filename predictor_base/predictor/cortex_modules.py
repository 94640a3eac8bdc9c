"""Modules of Cortex's server that predictors import: `from cortex_internal.lib.log import logger`."""

from __future__ import annotations

import importlib.util
import logging
import sys
from types import ModuleType

logger = logging.getLogger("cortex")


def configure_logger(*_: object, **__: object) -> logging.Logger:
    """Cortex's logger; the runtime has configured it."""
    return logger


def offer_cortex_modules() -> None:
    """Make them importable, unless the project has a `cortex_internal` of its own."""
    if "cortex_internal" in sys.modules or importlib.util.find_spec("cortex_internal"):
        return
    parent: ModuleType | None = None
    for name in ("cortex_internal", "cortex_internal.lib", "cortex_internal.lib.log"):
        module = ModuleType(name, __doc__)
        module.__path__ = []
        if parent is not None:
            setattr(parent, name.rpartition(".")[2], module)
        sys.modules[name] = parent = module
    vars(sys.modules[name]).update(logger=logger, configure_logger=configure_logger)
