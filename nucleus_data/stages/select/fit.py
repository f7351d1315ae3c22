"""The constants of curriculum buckets: ranks of sizes, and mean and deviation of places.

They are fitted once and stored as data: `nucleus fit-curriculum` counts the kept records by tier
and size, in tasks on groups of image shards, adds the counts up, and writes a JSON file. The config
hash of a selection depends on the file's content. With the constants fixed, a record's bucket
depends on that record alone, whichever others are added or removed.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nucleus_data.errors import RequestError
from nucleus_data.stages.select.draw import Numbers, places, size_ranks, stepped

KEY = "select.curriculum.fitted"
FIT = "nucleus fit-curriculum curriculum.json corpus=CORPUS"
FITTED = "select.curriculum.fitted=curriculum.json"

# (tier, size rounded by `stepped`) -> number of records.
Sketch = Counter[tuple[int, float]]


class CurriculumFit(BaseModel):
    """Constants fitted on one corpus.

    Attributes:
        version: Version of this format.
        records: Number of records that they were fitted on.
        score, bounds: The tiers of those records: SQL of the score, and the lowest score of each.
        size: SQL for the size of a record.
        quality_weight: Weight of the tier in a record's place.
        mean, deviation: Mean and standard deviation of the places.
        sizes, ranks: Knots of the function from size to rank, both ascending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    records: int = Field(ge=1)
    score: str
    bounds: tuple[float, ...]
    size: str
    quality_weight: float
    mean: float
    deviation: float = Field(gt=0)
    sizes: tuple[float, ...] = Field(min_length=1)
    ranks: tuple[float, ...]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.sizes) != len(self.ranks):
            raise ValueError(f"has {len(self.sizes)} sizes but {len(self.ranks)} ranks")
        for name in ("sizes", "ranks"):
            if (np.diff(getattr(self, name)) <= 0).any():
                raise ValueError(f"{name} must be in increasing order")
        if not 0 <= self.ranks[0] <= self.ranks[-1] <= 1:
            raise ValueError("ranks must be between 0 and 1")
        return self

    def standardised(self, tiers: NDArray[Any], sizes: Numbers) -> Numbers:
        """Returns the places z of records, with mean 0 and deviation 1 over the fitted records.

        Args:
            tiers: Numbers of their tiers, from 1, shape [N].
            sizes: Their sizes, shape [N].

        Returns:
            float64[N].
        """
        ranks = size_ranks(sizes, self.sizes, self.ranks)
        z = places(tiers, ranks, len(self.bounds), self.quality_weight)
        return np.asarray((z - self.mean) / self.deviation)


def sketched(tiers: NDArray[Any], sizes: Numbers) -> Sketch:
    """Counts records by tier and size; the counts of parts of a corpus can be added.

    Args:
        tiers: Numbers of tiers, from 1, shape [N].
        sizes: Sizes, shape [N].
    """
    pairs = np.stack([tiers.astype(np.float64), stepped(sizes)], axis=1)
    keys, counts = np.unique(pairs, axis=0, return_counts=True)
    return Counter(
        {(int(t), s): n for (t, s), n in zip(keys.tolist(), counts.tolist(), strict=True)}
    )


def encoded(sketch: Sketch) -> bytes:
    """Encodes counts as JSON, for `decoded`."""
    return json.dumps([[*key, count] for key, count in sorted(sketch.items())]).encode()


def decoded(text: bytes) -> Sketch:
    """Decodes what `encoded` encoded."""
    return Counter({(tier, size): count for tier, size, count in json.loads(text)})


def fitted(
    sketch: Sketch, score: str, bounds: tuple[float, ...], size: str, quality_weight: float
) -> CurriculumFit:
    """Fits the constants to counted records; they do not depend on the order of counting.

    Args:
        sketch: The counts.
        score: SQL of the tiers' score.
        bounds: The lowest score of each tier.
        size: SQL for the size of a record.
        quality_weight: Weight of the tier in a record's place.

    Raises:
        RequestError: There are no records, or all have the same tier and size.
    """
    keys = sorted(sketch)
    if not keys:
        raise RequestError(
            "no kept record has both a quality tier and a size, so there is nothing to fit; "
            "see select.tiers.score, select.tiers.bounds and select.curriculum.size"
        )
    tiers, every = (np.array(column, np.float64) for column in zip(*keys, strict=True))
    counts = np.array([sketch[key] for key in keys], np.int64)
    sizes, where = np.unique(every, return_inverse=True)
    equal = np.zeros(len(sizes), np.int64)
    np.add.at(equal, where, counts)
    total = int(counts.sum())
    ranks = (np.cumsum(equal) - equal / 2) / total
    z = places(
        tiers, size_ranks(every, sizes.tolist(), ranks.tolist()), len(bounds), quality_weight
    )
    if z.min() == z.max():
        raise RequestError(
            f"all {total:,} kept records have the same tier and size, so there is no order; "
            "see select.tiers and select.curriculum.size"
        )
    # `fsum` rounds only once, so that the sum is the same on every machine.
    mean = math.fsum((counts * z).tolist()) / total
    deviation = math.sqrt(math.fsum((counts * (z - mean) ** 2).tolist()) / total)
    return CurriculumFit(
        records=total,
        score=score,
        bounds=bounds,
        size=size,
        quality_weight=quality_weight,
        mean=mean,
        deviation=deviation,
        sizes=tuple(sizes.tolist()),
        ranks=tuple(ranks.tolist()),
    )


def load_fit(given: str | Mapping[str, Any] | None) -> CurriculumFit:
    """Loads the constants of a configuration.

    Args:
        given: A path of a JSON file, or its content; None if it is not configured.

    Raises:
        RequestError: They are not configured, or can't be read.
    """
    if given is None:
        raise RequestError(
            f"{KEY} is not set: buckets need constants that are fitted once. Select with "
            f"select.curriculum=null, run: {FIT}, and set {FITTED}"
        )
    where = f"{KEY}: {given!r}" if isinstance(given, str) else KEY
    try:
        content = json.loads(Path(given).read_bytes()) if isinstance(given, str) else given
    except FileNotFoundError:
        raise RequestError(f"{where} does not exist; to create it, run: {FIT}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"{where} can't be read: {reason}") from None
    except ValueError as error:
        raise RequestError(f"{where} is not valid JSON: {error}; run: {FIT}") from None
    try:
        return CurriculumFit.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(
            f"{where} is not the output of fit-curriculum: {place}: {message}; run: {FIT}"
        ) from None


def save_fit(fit: CurriculumFit, file: Path) -> None:
    """Writes the constants as JSON.

    Raises:
        RequestError: The file can't be written.
    """
    text = json.dumps(fit.model_dump(mode="json"), indent=1) + "\n"
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise RequestError(f"{str(file)!r} can't be written: {reason}") from None
