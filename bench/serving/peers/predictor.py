"""The same model as a gitops-ml predictor."""

import model


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        return {"predictions": model.predict(payload["instances"])}
