"""Continue a text with a small language model, on a GPU where there is one.

The model here is a table of which word follows which, learnt from the text beside this file, so that
the example runs anywhere; with `config: {model: org/name}` and `transformers` in requirements.txt it
is a real language model.
"""

import random
from collections import defaultdict
from pathlib import Path


class PythonPredictor:
    def __init__(self, config):
        self.limit = config.get("max_new_tokens", 64)
        self.go_on = _transformer(config["model"]) if "model" in config else _table()

    def predict(self, payload):
        count = min(int(payload.get("max_new_tokens", self.limit)), self.limit)
        return {"text": self.go_on(payload["prompt"], count, payload.get("seed"))}


def _table():
    words = (Path(__file__).parent / "corpus.txt").read_text().split()
    followers = defaultdict(list)
    for word, following in zip(words, words[1:], strict=False):
        followers[word.lower().strip(".,")].append(following)

    def generate(prompt, count, seed):
        choose = random.Random(seed)
        text = prompt.split() or [choose.choice(words)]
        for _ in range(count):
            known = followers.get(text[-1].lower().strip(".,"))
            text.append(choose.choice(known or words))
        return " ".join(text)

    return generate


def _transformer(name):
    import torch
    from transformers import pipeline

    device = 0 if torch.cuda.is_available() else -1
    model = pipeline("text-generation", model=name, device=device)

    def generate(prompt, count, seed):
        if seed is not None:
            torch.manual_seed(seed)
        return model(prompt, max_new_tokens=count)[0]["generated_text"]

    return generate
