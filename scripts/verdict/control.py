"""The negative control: the same comparison judged by a bootstrap over samples, which must alarm.

It draws pictures anew, and takes the models as they are: what a seed did to a model it takes for
what the data did. Its means are those of the verdict, over all replicates.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from nucleus_model.training.verdict.collect import REFERENCE, of_part
from nucleus_model.training.verdict.intervals import Numbers, holm
from nucleus_model.training.verdict.measures import HIGH, LOW

DRAWS = 4000


def sample_alarms(tables: Mapping[str, Sequence[pa.Table]], level: float = 0.95) -> list[str]:
    """The measures that a bootstrap over samples calls different, adjusted by Holm.

    Args:
        tables: Of arms `a` and `b`: the losses of each run.
        level: Of the family of five; what is memorised is read on other pictures, and left out.
    """
    parts = {arm: [of_part(table, REFERENCE) for table in of] for arm, of in tables.items()}
    sigmas = parts["a"][0].sigmas

    def difference(name: str) -> Numbers:
        means = {
            arm: np.mean([getattr(losses, name) for losses in of], axis=0)
            for arm, of in parts.items()
        }
        found: Numbers = means["b"] - means["a"]
        return found

    true = difference("true")
    values = {
        "loss": (true, np.ones_like(true)),
        "low_sigma": (true, (sigmas < LOW).astype(float)),
        "high_sigma": (true, (sigmas > HIGH).astype(float)),
        "caption_gap": (difference("shuffled") - true, np.ones_like(true)),
        "empty_gap": (difference("empty") - true, np.ones_like(true)),
    }
    count = len(true)
    picks = np.random.default_rng(0).multinomial(count, [1 / count] * count, size=DRAWS)
    p = []
    for value, weight in values.values():
        means = picks @ (value * weight).sum(axis=1) / (picks @ weight.sum(axis=1))
        below = np.mean(means <= 0)
        p.append(float(min(1.0, 2 * max(min(below, 1 - below), 1 / DRAWS))))
    return [name for name, each in zip(values, holm(p), strict=True) if each < 1 - level]
