"""A predictor that reads what it is given, and answers with its size."""


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload):
        if isinstance(payload, bytes):  # a JPEG
            return {"bytes": len(payload)}
        if hasattr(payload, "multi_items"):  # a form
            return {"bytes": sum(len(each.file.read()) for each in payload.values())}
        return {"bytes": [sum(each.nbytes for each in payload.values())]}  # tensors
