"""How often the checks on stored vectors find captions of the world that are wrong in known ways.

Vectors are those of the packaged CLIP. The similarity is calibrated as for routing, on whether at
least half of a caption's facts are right (`scripts.captions.routing`), on another world than the
one that is judged.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from nucleus_data.engines.agreement import wilson
from nucleus_data.engines.calibration import fit_calibration
from nucleus_data.engines.clip import load_clip
from nucleus_data.stages.caption.checks.on_tables import COSINE, SIMILARITY
from nucleus_data.world.alt_texts import alt_text, with_a_mistake
from nucleus_data.world.scenes import Scene
from nucleus_data.world.words import captions
from scripts.captions.routing import captioned
from scripts.nano.measuring import held_out

FITTED, JUDGED = 93_000, 94_000  # seeds of the worlds to calibrate on, and to judge
Altered = Callable[[Scene, np.random.Generator], str]


def tables(count: int) -> Iterator[str]:
    """Yields the lines of a table in Markdown.

    Args:
        count: Number of pictures, and of captions of each kind.
    """
    clip = load_clip("nano")
    rows = held_out(count, "core", FITTED)
    images = clip.images([row.image for row in rows])
    given = [captioned(row.facts) for row in rows]
    cosine = (images * clip.texts([one.text for one in given])).sum(1)
    right = np.array([one.right for one in given])
    calibration = fit_calibration(
        cosine[right], cosine[~right], model="nano", revision="", prior=float(right.mean())
    )
    rows = held_out(count, "core", JUDGED)
    images = clip.images([row.image for row in rows])
    others = clip.texts([captions(row.facts)["long"] for row in rows])
    yield "| caption | similarity below the bound | cosine with a true, long caption below |"
    yield "|---|---|---|"
    for name, make in _kinds([word for row in rows for word in _true(row.facts).split()]).items():
        texts = [make(row.facts, np.random.default_rng([JUDGED, n])) for n, row in enumerate(rows)]
        vectors = clip.texts(texts)
        far = calibration.apply((images * vectors).sum(1)) < SIMILARITY
        cosines = (others * vectors).sum(1)
        least = f" (least {cosines.min():.3f})" if name == "true" else ""
        yield f"| {name} | {_share(far)} | {_share(cosines < COSINE)}{least} |"


def _kinds(words: list[str]) -> dict[str, Altered]:
    """Returns kind of caption -> its maker; `words` are those of all captions."""

    def replaced(share: float, facts: Scene, rng: np.random.Generator) -> str:
        own = _true(facts).split()
        for at in rng.permutation(len(own))[: round(share * len(own))]:
            own[at] = str(rng.choice(words))
        return " ".join(own)

    def mistaken(most: int, facts: Scene, rng: np.random.Generator) -> str:
        for _ in range(int(rng.integers(1, most + 1))):
            facts = with_a_mistake(facts, rng)
        return _true(facts)

    return {
        "true": lambda facts, rng: _true(facts),
        "of another picture": lambda facts, rng: _other(facts),
        "random words": partial(replaced, 1.0),
        "half of the words replaced": partial(replaced, 0.5),
        "words shuffled": lambda facts, rng: " ".join(rng.permutation(_true(facts).split())),
        "one mistake": partial(mistaken, 1),
        "one to five mistakes": partial(mistaken, 5),
    }


def _true(facts: Scene) -> str:
    return captions(facts)["short"]


def _other(facts: Scene) -> str:
    return alt_text(facts, "other_image").text


def _share(found: np.ndarray) -> str:
    low, high = wilson(int(found.sum()), len(found))
    return f"{found.mean():.1%} ({100 * low:.1f} to {100 * high:.1f})"
