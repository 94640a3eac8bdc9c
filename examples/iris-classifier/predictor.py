"""Tell the species of an iris from four measurements in centimetres."""

from pathlib import Path

import joblib

SPECIES = ("setosa", "versicolor", "virginica")
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class PythonPredictor:
    def __init__(self, config):
        self.model = joblib.load(Path(__file__).parent / config.get("model", "model.joblib"))

    def predict(self, payload):
        flower = [[payload[feature] for feature in FEATURES]]
        probabilities = self.model.predict_proba(flower)[0]
        best = int(probabilities.argmax())
        return {"label": SPECIES[best], "probability": round(float(probabilities[best]), 4)}
