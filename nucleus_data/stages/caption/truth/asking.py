"""For truth tests: asks an otherwise idle engine, and makes thumbnails of pictures."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nucleus_data.engines.captioner import Ask, Engine, Pixels
from nucleus_data.stages.caption.truth.verdict import Alone

TOKENS = 64  # token limit of a probe: enough to distinguish texts, at a fraction of the time
FEWEST_LETTERS = 16  # minimum characters of a truncated answer that can identify a text
LOOK = 8  # side of thumbnails, in pixels


def thumbnail(picture: Pixels) -> NDArray[np.float32]:
    """Makes a thumbnail from a sample of a picture's pixels: (LOOK, LOOK, 3), 0 to 255."""
    rows, columns = (np.linspace(0, side, 4 * LOOK, endpoint=False) for side in picture.shape[:2])
    some = picture[rows.astype(int)][:, columns.astype(int)].astype(np.float32)
    small: NDArray[np.float32] = some.reshape(LOOK, 4, LOOK, 4, 3).mean(axis=(1, 3))
    return small


def said_alone(engine: Engine, ask: Ask, picture: Pixels, what: str) -> Alone | None:
    """Asks an otherwise idle engine; returns None if the request fails."""
    # A truncated JSON answer would be invalid.
    tokens = ask.sampling.max_tokens if ask.schema else min(ask.sampling.max_tokens, TOKENS)
    sampling = replace(
        ask.sampling, max_tokens=tokens, min_tokens=min(ask.sampling.min_tokens, tokens)
    )
    key = f"probe/{what}/{ask.key}"
    try:
        own = replace(ask, key=key, sampling=sampling, fresh=True)
        engine.submit(engine.prepare(picture, [own]))
    except Exception:  # about this request; if the engine itself is broken, `step` raises as well
        return None
    answer = None
    while engine.pending():
        for made in engine.step():
            if made.key == key and not made.error:
                answer = Alone(made.text, made.finish_reason == "length")
    # Many texts begin with the same few letters.
    return None if answer and answer.cut and len(answer.text) < FEWEST_LETTERS else answer
