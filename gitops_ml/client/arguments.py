"""Check and convert the arguments of `Client`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitops_ml.delivery.releases import Selection
from gitops_ml.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_arguments(predictor: object, models: object, content: str, *, kind: object) -> None:
    """Refuse arguments of another type than `Client.create_api` takes.

    Raises:
        UsageError: what is wrong, with an example.
    """
    if not (predictor is None or isinstance(predictor, type) or kind == "TaskAPI"):
        name = getattr(predictor, "__qualname__", None)
        found = f"the function {name}" if name else f"a {type(predictor).__name__}"
        raise UsageError(
            f"predictor must be a class, not {found}: predictor=MyPredictor, a class with a method "
            "predict"
        )
    is_mapping = isinstance(models, Mapping) and all(isinstance(name, str) for name in models)
    if not (models is None or is_mapping):
        raise UsageError(
            f'models must be a dict of names: models={{"model": "model.onnx"}}, not {models!r:.80}'
        )
    if content not in ("complete", "source"):
        raise UsageError(f"content must be 'complete' or 'source', not {content!r}")


def patch_of(spec: object, changes: object) -> tuple[str, Mapping[str, Any]]:
    """The name of the API, and the fields that change."""
    # Cortex's second argument is `force`.
    changes = None if isinstance(changes, bool) else changes
    if isinstance(spec, str) and isinstance(changes, Mapping):
        return spec, changes
    if isinstance(spec, Mapping) and changes is None:
        name = spec.get("name")
        if not isinstance(name, str) or not name:
            raise UsageError("the spec has no name of an API to patch")
        return name, {key: value for key, value in spec.items() if key not in ("name", "kind")}
    raise UsageError(
        'patch needs a name and the fields that change: patch("iris", {"compute": {"cpu": 2}})'
    )


def selection_of(
    names: str | Sequence[str],
    *,
    every: bool = False,
    teams: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Selection:
    apis = (names,) if isinstance(names, str) else tuple(names)
    if not (apis or every or teams or labels):
        raise UsageError("no API is chosen: give names, every=True, teams= or labels=")
    if apis and every:
        raise UsageError("every=True chooses every API: do not give names as well")
    return Selection(apis=apis, every=every, teams=tuple(teams), labels=labels)
