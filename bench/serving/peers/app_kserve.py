import model
from kserve import Model, ModelServer


class M(Model):
    def __init__(self):
        super().__init__("iris")
        self.ready = True

    def predict(self, payload, headers=None):
        return {"predictions": model.predict(payload["instances"])}


if __name__ == "__main__":
    ModelServer(enable_grpc=False).start([M()])
