"""Settings that libraries keep for each thread: those that the predictor's load made hold on all its threads."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("predictor_base")


@dataclass(frozen=True, slots=True)
class Kept:
    """How a library keeps settings for each thread."""

    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


def _torch(torch: Any) -> dict[str, Any]:
    device = getattr(torch, "get_default_device", lambda: None)()
    return {"grad": torch.is_grad_enabled(), "device": device}


def _set_torch(torch: Any, found: Mapping[str, Any]) -> None:
    torch.set_grad_enabled(found["grad"])
    device = found["device"]
    if device is not None and device != torch.get_default_device():
        torch.set_default_device(device)


KEPT: Mapping[str, Kept] = {
    "numpy": Kept(lambda numpy: numpy.geterr(), lambda numpy, found: numpy.seterr(**found)),
    "sklearn": Kept(
        lambda sklearn: sklearn.get_config(), lambda sklearn, found: sklearn.set_config(**found)
    ),
    "torch": Kept(_torch, _set_torch),
}
"""By module. NumPy does so before version 2. What is in context variables, as for decimals, is in those of jobs."""


def of_this_thread() -> dict[str, Any]:
    """What the libraries that are imported have for this thread."""
    found = {}
    for name, kept in KEPT.items():
        if (module := sys.modules.get(name)) is not None:
            try:
                found[name] = kept.read(module)
            except Exception:  # of another version, or broken
                logger.exception("the settings of %s for a thread cannot be read", name)
    return found


def set_on_this_thread(settings: Mapping[str, Any]) -> None:
    """Set what `of_this_thread` found on another thread."""
    for name, found in settings.items():
        try:
            KEPT[name].write(sys.modules[name], found)
        except Exception:  # likewise
            logger.exception("the settings of %s for a thread cannot be set", name)
