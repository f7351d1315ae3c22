"""Estimates what captions cost: tokens, time and price per variant, without loading a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from nucleus_data.printed import counted
from nucleus_data.stages.caption.models import place_of
from nucleus_data.stages.caption.settings import CaptionSettings

PATCH = 32  # side in pixels of one image token: 2 x 2 patches of 16 pixels, as in Qwen3-VL
LETTERS = 4  # characters per token of English, roughly
UNMEASURED = "if each has full length and needs one attempt"
TEMPLATE = 16  # tokens that a chat template adds, roughly


@dataclass(frozen=True)
class Measured:
    """Means over the stored captions of a variant.

    Attributes:
        captions: How many captions were averaged; 0 if there are none.
        read, written: Prompt tokens (picture included) and generated tokens per caption.
        attempts: Attempts per caption.
    """

    captions: int = 0
    read: float = 0.0
    written: float = 0.0
    attempts: float = 1.0


@dataclass
class ToDo:
    """What is left to do for a variant.

    Attributes:
        captions: Number of captions.
        picture_tokens: Image tokens of all their pictures.
        upstream_letters: Characters of all upstream text that is part of their questions.
    """

    captions: int = 0
    picture_tokens: int = 0
    upstream_letters: int = 0

    def add(self, other: "ToDo") -> None:
        """Adds the counts of another shard."""
        self.captions += other.captions
        self.picture_tokens += other.picture_tokens
        self.upstream_letters += other.upstream_letters


@dataclass(frozen=True)
class Cost:
    """The estimated cost of a variant.

    Attributes:
        name: The variant.
        captions: How many captions would be made.
        read, written: Total prompt tokens (pictures included) and generated tokens.
        measured: How many stored captions the estimate is based on; 0 if it assumes full length and
            one attempt each.
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
        a_second: Captions per second; None if unknown.
        basis: Where the figure comes from, for people.
    """

    a_second: float | None
    basis: str


def picture_tokens(
    widths: np.ndarray, heights: np.ndarray, max_side: int, max_pixels: int | None
) -> np.ndarray:
    """Estimates the image tokens of pictures at the size the model sees: int64[N]."""
    scale = np.minimum(1.0, max_side / np.maximum(widths, heights))
    if max_pixels is not None:
        scale = np.minimum(scale, np.sqrt(max_pixels / (widths * heights)))
    sides = [np.maximum(1, np.round(side * scale / PATCH)) for side in (widths, heights)]
    tokens: np.ndarray = (sides[0] * sides[1]).astype(np.int64)
    return tokens


def largest_picture(settings: CaptionSettings) -> int:
    """Returns the image tokens of the largest picture that the model may be given."""
    side = settings.max_side
    most = sqrt(settings.max_pixels) if settings.max_pixels else side
    return ceil(min(side, most) / PATCH) ** 2


def costs(
    settings: CaptionSettings, todo: Mapping[str, ToDo], measured: Mapping[str, Measured]
) -> list[Cost]:
    """Estimates the cost of each variant.

    Args:
        settings: The stage's settings.
        todo: What is left to do, by variant, parents before their children.
        measured: Means over stored captions, by variant.
    """
    estimates, written_each = [], dict[str, float]()
    for name, left in todo.items():
        variant, known = settings.variants[name], measured.get(name, Measured())
        written_each[name] = known.written or float(variant.max_tokens)
        text = len(variant.template) + len(variant.system or settings.of(name).system or "")
        prompt_tokens = TEMPLATE + text / LETTERS
        if (parent := settings.parent(name)) is not None:
            prompt_tokens += written_each.get(parent, settings.variants[parent].max_tokens)
        read = left.captions * prompt_tokens + left.upstream_letters / LETTERS
        if variant.sees_picture:
            read += left.picture_tokens
        if known.captions:
            read = left.captions * known.read
        attempts = known.attempts
        estimates.append(
            Cost(
                name,
                left.captions,
                round(read * attempts),
                round(left.captions * written_each[name] * attempts),
                known.captions,
            )
        )
    return estimates


def cost_lines(
    settings: CaptionSettings, found: Sequence[Cost], rates: Mapping[str, Rate]
) -> Iterator[str]:
    """Yields lines for people: the cost of each variant, of each of several models, and the total.

    Args:
        settings: The stage's settings.
        found: Costs of the variants.
        rates: Rates of the models, by name.
    """
    several = len(rates) > 1
    for cost in found:
        own = settings.of(cost.name)
        basis = f"based on {cost.measured:,} stored captions" if cost.measured else UNMEASURED
        price = f", price {_price(own, [cost]):,.2f}" if own.price else ""
        model = f" by {own.model}" if several else ""
        yield (
            f"  {cost.name}: {counted(cost.captions, 'caption')}{model}, {_short(cost.read)} "
            "tokens read, "
            f"{_short(cost.written)} written ({basis}){price}"
        )
    asked = settings.asked_of()
    of_model = {name: [c for c in found if c.name in asked[name]] for name in rates}
    if several:
        for name, costs in of_model.items():
            model_settings = settings.with_model(name)
            parts = [*_sums(costs), _time_of(name, costs, rates[name])]
            if model_settings.price:
                parts.append(f"price {_price(model_settings, costs):,.2f}")
            yield f"  {place_of(name)}.model={model_settings.model}: {', '.join(parts)}"
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
    yield f"  total: {', '.join(parts)}"


def _captions(found: Sequence[Cost]) -> int:
    return sum(cost.captions for cost in found)


def _sums(found: Sequence[Cost]) -> list[str]:
    """Formats the total captions and tokens of some variants."""
    read, written = (sum(getattr(c, part) for c in found) for part in ("read", "written"))
    tokens = f"{_short(read)} tokens read, {_short(written)} written"
    return [counted(_captions(found), "caption"), tokens]


def _time_of(name: str, found: Sequence[Cost], rate: Rate) -> str:
    """Formats how long a model takes for some variants."""
    if rate.a_second is None:
        return f"time unknown: no run here has used this model (set {place_of(name)}.rate)"
    took = _time(_captions(found) / rate.a_second)
    return f"{took} at {rate.a_second:,.3g} captions a second ({rate.basis})"


def _price(settings: CaptionSettings, found: Sequence[Cost]) -> float:
    assert settings.price is not None
    read, written = (sum(getattr(c, part) for c in found) for part in ("read", "written"))
    price = settings.price
    return (read * price.input_per_million + written * price.output_per_million) / 1e6


def _short(number: float) -> str:
    """Formats a number with the suffix k, M or G."""
    # From where three digits of a unit would be "1e+03", the next unit begins.
    for least, unit, letter in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (999.5, 1e3, "k")):
        if number >= least:
            return f"{number / unit:,.3g} {letter}"
    return f"{number:,.0f}"


def _time(seconds: float) -> str:
    """Formats a duration in its one or two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"
