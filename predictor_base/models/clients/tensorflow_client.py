"""`tensorflow_client`: models that TensorFlow Serving runs in another container, over REST.

    class TensorFlowPredictor:
        def __init__(self, tensorflow_client, config):
            self.client = tensorflow_client

        def predict(self, payload):
            return self.client.predict(payload)["class_ids"][0]

The signature is the manifest's signatureKey, or else the only one, `predict` or `serving_default`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from predictor_base.errors import BadRequest, LoadFailed, UnknownModel
from predictor_base.models.clients.model_client import version_number

if TYPE_CHECKING:
    from predictor_base.models.clients.serving_rest import ServingRest
    from predictor_base.settings import Settings


class TensorflowClient:
    """A client of TensorFlow Serving; `load` waits until it has loaded the models."""

    def __init__(
        self,
        rest: ServingRest,
        *,
        signature_keys: Mapping[str, str | None],
        default_model: str,
        load_seconds: float = 600.0,
    ) -> None:
        self._rest = rest
        self._signature_keys = signature_keys
        self._default_model = default_model
        self._load_seconds = load_seconds
        self._signatures: dict[tuple[str, int | None], str] = {}
        self._stop = Event()
        self._is_loaded = False

    def load(self, predictor: object) -> None:
        """Wait until every named model is available."""
        for name in self._signature_keys:
            self._rest.wait_until_available(name, None, seconds=self._load_seconds, stop=self._stop)
        self._is_loaded = True

    def is_ready(self) -> bool:
        return self._is_loaded

    def close(self) -> None:
        self._stop.set()
        self._rest.close()

    def describe(self) -> dict[str, Any]:
        described = {}
        for name in self._signature_keys:
            numbers = self._rest.available_versions(name)
            described[name] = {"versions": [str(each) for each in numbers]}
        return described

    def predict(
        self,
        model_input: Mapping[str, Any],
        model_name: str | None = None,
        model_version: str | int | None = "latest",
        *,
        nested: bool = False,
    ) -> dict[str, Any]:
        """The outputs by name: flat lists as in Cortex, or shaped as the tensors are if `nested`.

        Raises:
            BadRequest: TensorFlow Serving does not accept the input.
            UnknownModel: the model or version does not exist.
            ModelUnavailable: TensorFlow Serving does not answer.
        """
        name = self._name(model_name)
        number = version_number(model_version)
        signature = self._signature(name, number)
        if not isinstance(model_input, Mapping):
            raise BadRequest("the input of a TensorFlow model is an object of named tensors")
        outputs = self._rest.predict(name, number, signature=signature, inputs=model_input)
        if nested:
            return outputs
        return {key: list(_flat(value)) for key, value in outputs.items()}

    def _name(self, model_name: str | None) -> str:
        names = tuple(self._signature_keys)
        if self._default_model in names or (model_name is None and not names):
            return self._default_model
        if model_name is None and len(names) == 1:
            return names[0]
        if model_name is None or (names and model_name not in names):
            raise UnknownModel(f"the model {model_name or 'without model_name'}", names)
        return model_name

    def _signature(self, name: str, number: int | None) -> str:
        # a new version may have other signatures, but the manifest decides which one is used
        key = (name, number)
        if key not in self._signatures:
            wanted = self._signature_keys.get(name)
            self._signatures[key] = wanted or choose_signature(self._rest.signatures(name, number))
        return self._signatures[key]


def choose_signature(found: Iterable[str]) -> str:
    """The only signature, or `predict`, or `serving_default`, in this order."""
    names = sorted(name for name in found if not name.startswith("__"))
    if len(names) == 1:
        return names[0]
    for name in ("predict", "serving_default"):
        if name in names:
            return name
    raise LoadFailed(f"signatureKey must be one of the model's signatures: {', '.join(names)}")


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def signature_keys_of(settings: Settings) -> dict[str, str | None]:
    """The models that TensorFlow Serving must have, each with its signature."""
    models = settings.models
    if models is None or models.path:
        return {settings.served_name: models.signature_key if models else None}
    return {each.name: each.signature_key or models.signature_key for each in models.paths}
