import bentoml
import model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Iris:
    @bentoml.api
    def predict(self, instances: list[list[float]]) -> dict:
        return {"predictions": model.predict(instances)}
