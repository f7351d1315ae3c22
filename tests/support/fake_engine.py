"""A captioning engine without a model."""

import numpy as np

from nucleus_data.engines.captioner import Generated


class FakeEngine:
    """No model: answers with the request's facts, the newest first, `per_step` a step.

    `answers` maps a key (shard/row/variant) to another outcome of that request.
    """

    name = "fake"
    version = "0"

    def __init__(self, answers=None, per_step=1):
        self.answers = answers or {}
        self.per_step = per_step
        self.waiting = []
        self.submitted = []
        self.steps = 0
        self.most = 0

    def submit(self, key, image, prompt, sampling):
        assert image.dtype == np.uint8
        assert image.ndim == 3
        self.waiting.append((key, image.shape, prompt, sampling))
        self.submitted.append((key, image.shape, prompt, sampling))
        self.most = max(self.most, len(self.waiting))

    def step(self):
        self.steps += 1
        done = []
        for _ in range(min(self.per_step, len(self.waiting))):
            key, _, prompt, _ = self.waiting.pop()
            outcome = self.answers.get(key, {"text": f"{prompt} {key}"})
            done.append(Generated(key, **{"finish_reason": "stop", "tokens": 5, **outcome}))
        return done

    def pending(self):
        return len(self.waiting)

    def count_tokens(self, text):
        return len(text.split())
