"""Sessions that replaced builtins, or functions of Python's modules, with which packaging works as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gitops_ml.capture.comparison.patched_libraries import replaced_builtins, replaced_in_python
from gitops_ml.capture.live_session import current_session
from gitops_ml.errors import GitopsMlError, Unpackageable


def refuse_replaced_builtins(target: Any) -> None:
    """Refuse a session in which code, also that of this package, works with other builtins.

    Raises:
        Unpackageable: the session replaced some, or added names.
    """
    reasons = [
        f"this session put {name} into builtins, and so changed it for all code: give it a name in a cell "
        f"({name} = …) instead, and restart the session"
        for name in replaced_builtins()
    ]
    if reasons:
        raise Unpackageable(getattr(target, "__name__", "the class"), reasons)


@contextmanager
def naming_replaced(target: Any) -> Iterator[None]:
    """Name what the session replaced in Python itself, where something fails that may come from it.

    Raises:
        Unpackageable: with all reasons.
    """
    try:
        yield
    except Exception as error:
        is_refusal = isinstance(error, Unpackageable)
        if isinstance(error, GitopsMlError) and not is_refusal:
            raise
        session = current_session()
        replaced = replaced_in_python(session.namespace, session.source)
        if not replaced:
            raise
        reasons = getattr(error, "reasons", (f"{type(error).__name__}: {error}",))
        why = (
            f"this session replaced {', '.join(replaced)}, which the packaging uses as well, so what follows may "
            "come from that: restore it, and call a function of your own in the class"
        )
        name = str(getattr(target, "__name__", "the class"))
        raise Unpackageable(name, [why, *reasons]) from error
