import model
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class P(BaseModel):
    instances: list[list[float]]


@app.post("/predict")
def predict(p: P):
    return {"predictions": model.predict(p.instances)}
