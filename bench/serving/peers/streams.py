"""A predictor that yields a value every 50 ms, 100 of them."""

import asyncio


class PythonPredictor:
    def __init__(self, config):
        pass

    async def predict(self, payload):
        for number in range(100):
            await asyncio.sleep(0.05)
            yield {"token": number}
