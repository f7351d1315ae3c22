"""Asks an engine with nothing else in it, for truth tests; and how a picture looks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nucleus_data.engines.captioner import Ask, Engine, Pixels
from nucleus_data.stages.caption.truth.verdict import Alone

TOKENS = 64  # of a probe alone: enough to tell texts apart, and a fraction of a long caption's time
FEWEST_LETTERS = 16
LOOK = 8  # thumbnails are 8x8


def thumbnail(picture: Pixels) -> NDArray[np.float32]:
    """How a picture looks: (LOOK, LOOK, 3), 0 to 255, of some of its pixels."""
    rows, columns = (np.linspace(0, side, 4 * LOOK, endpoint=False) for side in picture.shape[:2])
    some = picture[rows.astype(int)][:, columns.astype(int)].astype(np.float32)
    found: NDArray[np.float32] = some.reshape(LOOK, 4, LOOK, 4, 3).mean(axis=(1, 3))
    return found


def said_alone(engine: Engine, ask: Ask, picture: Pixels, what: str) -> Alone | None:
    """What the engine says with nothing else in it; None if it fails."""
    # Cut, an answer in JSON is none.
    tokens = ask.sampling.max_tokens if ask.schema else min(ask.sampling.max_tokens, TOKENS)
    sampling = replace(
        ask.sampling, max_tokens=tokens, min_tokens=min(ask.sampling.min_tokens, tokens)
    )
    key = f"probe/{what}/{ask.key}"
    try:
        own = replace(ask, key=key, sampling=sampling, fresh=True)
        engine.submit(engine.prepare(picture, [own]))
    except Exception:  # of this request; an engine that is broken raises in `step`, too
        return None
    found = None
    while engine.pending():
        for made in engine.step():
            if made.key == key and not made.error:
                found = Alone(made.text, made.finish_reason == "length")
    # A few letters are the beginning of many texts.
    return None if found and found.cut and len(found.text) < FEWEST_LETTERS else found
