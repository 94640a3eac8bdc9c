"""Prediction tracking: metrics of how often each class occurs, or how values are distributed.

`predictor_predictions_total{deployment_id, class}` counts for `modelType: classification`, and
`predictor_prediction_value{deployment_id}` is the histogram for `regression`. The prediction is
the whole response, or the value at `key`: `label`, `result.label`, `predictions.label` (of every
item of a list), `predictions.0.label`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from predictor_base.settings import Monitoring

MAX_CLASSES = 40
"""Classes counted by name in one process; later ones are counted together: a replica has less than 300 series."""
OTHER_CLASSES = "__other__"
MAX_CLASS_LENGTH = 128
MAX_PREDICTIONS = 1000
"""Predictions recorded per response: a response with a million values must not stall the server."""

_POWERS = tuple(10.0**power for power in range(-3, 7))
_POSITIVE = tuple(digit * power for power in _POWERS for digit in (1, 2.5, 5))
BUCKETS = (*(-power for power in reversed(_POWERS)), 0.0, *_POSITIVE)

logger = logging.getLogger(__name__)


class Tracker:
    """Record the prediction in each response; a response without one is logged once, and is never an error."""

    def __init__(
        self, monitoring: Monitoring, registry: CollectorRegistry, *, deployment_id: str = ""
    ) -> None:
        self._key = tuple(monitoring.key.split(".")) if monitoring.key else ()
        self._deployment_id = deployment_id
        self._is_classification = monitoring.model_type == "classification"
        self._classes: dict[str, Counter] = {}
        self._logged: set[str] = set()
        if self._is_classification:
            name, text = "predictor_predictions", "Predictions by class."
            self._counter = Counter(name, text, ["deployment_id", "class"], registry=registry)
            return
        name, text = "predictor_prediction_value", "Predicted values."
        histogram = Histogram(name, text, ["deployment_id"], registry=registry, buckets=BUCKETS)
        self._histogram = histogram.labels(deployment_id)
        # a histogram with negative buckets has no sum in Prometheus' formats
        self._sum = Gauge(
            "predictor_predicted_value_sum",
            "Sum of the predicted values, whose number is predictor_prediction_value_count.",
            ["deployment_id"],
            registry=registry,
            multiprocess_mode="sum",
        ).labels(deployment_id)

    def record(self, response: object) -> None:
        """Count or observe the predictions of a response."""
        try:
            for number, prediction in enumerate(find_predictions(response, self._key)):
                if number >= MAX_PREDICTIONS:
                    self._log_once(f"only {MAX_PREDICTIONS} predictions of a response are recorded")
                    return
                self._record_one(prediction)
        except Exception as error:  # noqa: BLE001 — a response may hold anything, also what raises when looked at
            self._log_once(f"{type(error).__name__}: {error}")

    def _record_one(self, prediction: object) -> None:
        wanted = (str, int) if self._is_classification else (float, int)
        if isinstance(prediction, bool) or not isinstance(prediction, wanted):
            names = " nor ".join(each.__name__ for each in wanted)
            self._log_once(f"the prediction is neither {names}: {type(prediction).__name__}")
        elif self._is_classification:
            self._count(str(prediction)[:MAX_CLASS_LENGTH])
        elif math.isfinite(float(prediction)):
            self._histogram.observe(float(prediction))
            self._sum.inc(float(prediction))
        else:
            self._log_once(f"the prediction is {prediction}")

    def _count(self, name: str) -> None:
        counter = self._classes.get(name)
        if counter is None:
            if len(self._classes) >= MAX_CLASSES:
                self._log_once(
                    f"more than {MAX_CLASSES} classes; more are counted as {OTHER_CLASSES}"
                )
                name = OTHER_CLASSES
            counter = self._counter.labels(self._deployment_id, name)
            self._classes[name] = counter
        counter.inc()

    def _log_once(self, problem: str) -> None:
        kind = problem.split(":")[0]
        if kind not in self._logged:
            self._logged.add(kind)
            logger.warning("prediction tracking: %s (logged once)", problem)


def find_predictions(value: object, key: tuple[str, ...]) -> Iterator[object]:
    """The plain values at the key; lists and arrays are followed item by item."""
    index = int(key[0]) if key and key[0].isdigit() else None
    value = _plain(value, index)
    if isinstance(value, list | tuple):
        if index is not None:
            if index >= len(value):
                raise LookupError(f"no item {index} in a list of {len(value)}")
            yield from find_predictions(value[index], key[1:])
            return
        for item in value:
            yield from find_predictions(item, key)
    elif key:
        yield from find_predictions(_field(value, key[0]), key[1:])
    else:
        yield value


def _plain(value: Any, index: int | None) -> Any:
    """Convert arrays, tensors, series and scalars of numpy and similar libraries to Python's types.

    Of an array, only what is recorded, or precedes the index: the loop waits meanwhile.
    """
    if isinstance(value, str | int | float | list | tuple | Mapping):
        return value.item() if hasattr(value, "item") and hasattr(value, "dtype") else value
    if not hasattr(value, "tolist"):
        return value
    if getattr(value, "ndim", 0):
        if index is None and value.ndim > 1:
            value = value.flat if hasattr(value, "flat") else value.ravel()
        value = value[: (MAX_PREDICTIONS if index is None else index) + 1]
    return value.tolist()


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping) or hasattr(value, "columns"):
        if name not in value:
            raise LookupError(f"the response has no key {name!r}{_known(value)}")
        return value[name]
    if hasattr(value, "__dataclass_fields__") or hasattr(value, "model_fields"):
        return getattr(value, name)
    raise LookupError(f"the response has no key {name!r}: it is {type(value).__name__}")


def _known(value: Iterable[object]) -> str:
    names = [str(each) for each in value][:10]
    return f"; it has {', '.join(names)}" if names else ""
