import pickle
from pathlib import Path

SPECIES = ("setosa", "versicolor", "virginica")


class IrisPredictor:
    def __init__(self, config):
        # The artifact `model` of the run, stored by its digest and mounted read-only.
        self.model = pickle.loads((Path(config["model"]) / "model.pkl").read_bytes())

    def predict(self, payload):
        return {"label": SPECIES[self.model.predict([payload["measurements"]])[0]]}
