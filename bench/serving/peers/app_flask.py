import model
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/predict")
def predict():
    return jsonify({"predictions": model.predict(request.get_json()["instances"])})
