"""What captions would cost: tokens, time and price of each variant, before any model is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from nucleus_data.stages.caption.models import place_of
from nucleus_data.stages.caption.settings import CaptionSettings

PATCH = 32  # pixels of a token's side: 16 of a patch, two patches a side, as Qwen3-VL has them
LETTERS = 4  # of a token of English, about
TEMPLATE = 16  # tokens that a chat template adds, about


@dataclass(frozen=True)
class Measured:
    """Means of a variant's captions that are stored.

    Attributes:
        captions: How many they are of; 0 for none.
        read, written: Tokens of a question with its picture, and of a caption.
        attempts: Questions a caption.
    """

    captions: int = 0
    read: float = 0.0
    written: float = 0.0
    attempts: float = 1.0


@dataclass
class ToDo:
    """What is left to do of a variant.

    Attributes:
        captions: How many.
        picture_tokens: Of the pictures of all of them.
        upstream_letters: Of what the records came with, where it is part of the question.
    """

    captions: int = 0
    picture_tokens: int = 0
    upstream_letters: int = 0

    def add(self, other: "ToDo") -> None:
        """Adds another shard's."""
        self.captions += other.captions
        self.picture_tokens += other.picture_tokens
        self.upstream_letters += other.upstream_letters


@dataclass(frozen=True)
class Cost:
    """A variant's cost.

    Attributes:
        name: The variant.
        captions: How many would be made.
        read, written: Tokens of all questions with their pictures, and of all captions.
        measured: How many stored captions it was estimated from; 0 for the most that it can be.
    """

    name: str
    captions: int
    read: int
    written: int
    measured: int


@dataclass(frozen=True)
class Rate:
    """How fast a model captions.

    Attributes:
        a_second: Captions a second; None if it is not known.
        basis: Where that comes from.
    """

    a_second: float | None
    basis: str


def picture_tokens(
    widths: np.ndarray, heights: np.ndarray, max_side: int, max_pixels: int | None
) -> np.ndarray:
    """About how many tokens pictures are, as the model is given them: int64[N]."""
    scale = np.minimum(1.0, max_side / np.maximum(widths, heights))
    if max_pixels is not None:
        scale = np.minimum(scale, np.sqrt(max_pixels / (widths * heights)))
    sides = [np.maximum(1, np.round(side * scale / PATCH)) for side in (widths, heights)]
    tokens: np.ndarray = (sides[0] * sides[1]).astype(np.int64)
    return tokens


def largest_picture(settings: CaptionSettings) -> int:
    """The tokens of the largest picture that the model may be given."""
    side = settings.max_side
    most = sqrt(settings.max_pixels) if settings.max_pixels else side
    return ceil(min(side, most) / PATCH) ** 2


def costs(
    settings: CaptionSettings, todo: Mapping[str, ToDo], measured: Mapping[str, Measured]
) -> list[Cost]:
    """The cost of each variant, those it is made from first.

    Args:
        settings: The stage's.
        todo: What is left to do, by variant in the order of the chain.
        measured: What is known of stored captions, by variant.
    """
    found, written_each = [], dict[str, float]()
    for name, mine in todo.items():
        variant, known = settings.variants[name], measured.get(name, Measured())
        written_each[name] = known.written or float(variant.max_tokens)
        text = len(variant.template) + len(variant.system or settings.of(name).system or "")
        each = TEMPLATE + text / LETTERS
        if (parent := settings.parent(name)) is not None:
            each += written_each.get(parent, settings.variants[parent].max_tokens)
        read = mine.captions * each + mine.upstream_letters / LETTERS
        if variant.sees_picture:
            read += mine.picture_tokens
        if known.captions:
            read = mine.captions * known.read
        attempts = known.attempts
        found.append(
            Cost(
                name,
                mine.captions,
                round(read * attempts),
                round(mine.captions * written_each[name] * attempts),
                known.captions,
            )
        )
    return found


def cost_lines(
    settings: CaptionSettings, found: Sequence[Cost], rates: Mapping[str, Rate]
) -> Iterator[str]:
    """The costs for people: of each variant, of each model if there are several, and together.

    Args:
        settings: The stage's.
        found: Those of the variants.
        rates: Of the models, by name.
    """
    several = len(rates) > 1
    for cost in found:
        mine = settings.of(cost.name)
        basis = f"as {cost.measured:,} stored ones" if cost.measured else "at most"
        price = f", price {_price(mine, [cost]):,.2f}" if mine.price else ""
        model = f" by {mine.model}" if several else ""
        yield (
            f"  {cost.name}: {cost.captions:,} captions{model}, {_short(cost.read)} tokens read, "
            f"{_short(cost.written)} written ({basis}){price}"
        )
    asked = settings.asked_of()
    of_model = {name: [c for c in found if c.name in asked[name]] for name in rates}
    if several:
        for name, its in of_model.items():
            one = settings.with_model(name)
            parts = [*_sums(its), _time_of(name, its, rates[name])]
            if one.price:
                parts.append(f"price {_price(one, its):,.2f}")
            yield f"  {place_of(name)}.model={one.model}: {', '.join(parts)}"
    parts = _sums(found)
    (first, *_) = rates
    if not several:
        parts.append(_time_of(first, found, rates[first]))
    elif all(rate.a_second for name, rate in rates.items() if _captions(of_model[name])):
        times = [
            _captions(of_model[name]) / rate.a_second
            for name, rate in rates.items()
            if rate.a_second
        ]
        parts.append(f"{_time(sum(times))}, one model after the other")
    prices = {name: settings.with_model(name) for name in rates}
    if any(one.price for one in prices.values()):
        total = sum(_price(one, of_model[name]) for name, one in prices.items() if one.price)
        parts.append(f"price {total:,.2f}")
    yield f"  together: {', '.join(parts)}"


def _captions(found: Sequence[Cost]) -> int:
    return sum(cost.captions for cost in found)


def _sums(found: Sequence[Cost]) -> list[str]:
    """Captions and tokens of some variants."""
    read, written = (sum(getattr(c, part) for c in found) for part in ("read", "written"))
    tokens = f"{_short(read)} tokens read, {_short(written)} written"
    return [f"{_captions(found):,} captions", tokens]


def _time_of(name: str, found: Sequence[Cost], rate: Rate) -> str:
    """How long a model takes for some variants."""
    if rate.a_second is None:
        return f"time not known: no run here captioned with the model ({place_of(name)}.rate)"
    took = _time(_captions(found) / rate.a_second)
    return f"{took} at {rate.a_second:,.3g} captions a second ({rate.basis})"


def _price(settings: CaptionSettings, found: Sequence[Cost]) -> float:
    assert settings.price is not None
    read, written = (sum(getattr(c, part) for c in found) for part in ("read", "written"))
    price = settings.price
    return (read * price.input_per_million + written * price.output_per_million) / 1e6


def _short(number: float) -> str:
    """A number with its thousands, millions or milliards as a letter."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.3g} {letter}"
    return f"{number:,.0f}"


def _time(seconds: float) -> str:
    """A time in the two units that say most of it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"
