"""Checks of a whole configuration before anything runs: rules, models, captions, the transformer.

Nothing is fetched and no weights are read: the transformer is built on torch's meta device.
"""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import Recipe
from nucleus_data.stages.select.rules import (
    Column,
    Rule,
    check_order,
    check_rules,
    check_types,
    columns_of,
)
from nucleus_data.stages.select.tiers import Tiers, check_score, check_tiers
from nucleus_data.stages.shard.plan import captions_of


class _AnyName(tuple[str, ...]):
    """The upstream columns of a corpus that is not there: each may be one."""

    def __contains__(self, name: object) -> bool:
        return True


def check_decisions(
    recipe: Recipe, upstream: Mapping[str, pa.DataType] | None = None
) -> tuple[list[Rule], list[Column], Tiers | None]:
    """Parses the rules, the order of preference and the quality tiers.

    Args:
        recipe: The configuration.
        upstream: `source.NAME` -> type, of the corpus's upstream columns; None where there is no
            corpus, so that rules on them are parsed and no more.

    Returns:
        The rules, the columns that the order reads, and the tiers, if there are any.

    Raises:
        RequestError: See `check_rules` and `check_types`.
    """
    settings, catalog = recipe.select, recipe.catalog()
    names = _AnyName() if upstream is None else [n.removeprefix("source.") for n in upstream]
    rules = check_rules(settings, catalog, names)
    types = {**recipe.signals(), **{("records", n): kind for n, kind in (upstream or {}).items()}}
    typed = [r for r in rules if upstream is not None or "records" not in r.tables]
    check_types(typed, types)
    tiers = check_tiers(settings.tiers, catalog, names)
    if tiers and (upstream is not None or "records" not in tiers.tables):
        check_score(tiers, types)
    prefer = [
        column
        for i, order in enumerate(settings.prefer)
        for column in columns_of(_without_direction(order), f"select.prefer[{i}]", catalog, ())
    ]
    check_order(settings.prefer, prefer, types)
    for name in ("file", *(("hash",) if settings.drop_duplicates else ())):
        if f"inspect.{name}" not in catalog.values():
            raise RequestError(f"select needs the signal group {name!r}; add it to inspect.signals")
    return rules, prefer, tiers


def check_captions(recipe: Recipe) -> Sequence[str]:
    """The caption tables that the training set reads.

    Raises:
        RequestError: One is no variant of the caption stage.
    """
    wanted = captions_of(recipe.shard)
    variants = sorted(recipe.caption.variants)
    for name in wanted:
        if name.removeprefix("caption.") not in variants:
            raise RequestError(
                f"shard.captions names {name.removeprefix('caption.')!r}, which is no caption "
                f"variant; allowed: source, {', '.join(variants)}"
            )
    return wanted


def check(recipe: Recipe) -> Iterator[str]:
    """Checks everything that can be checked without a corpus and without weights.

    Returns:
        A line for people about each part.

    Raises:
        RequestError: With what is wrong.
    """
    from nucleus_model.network.size import model_size

    recipe.table_hashes()
    rules, _, tiers = check_decisions(recipe)
    reading = [r.name for r in rules if "records" in r.tables]
    yield f"inspect: {', '.join(recipe.inspect.signals)}"
    yield f"select: {len(rules)} rules" + (
        f"; the types of upstream columns are not known yet ({', '.join(reading)})"
        if reading
        else ""
    )
    if tiers:
        yield f"select: {len(tiers.bounds)} quality tiers by {tiers.score}"
    if recipe.embed.model is None:
        yield "embed: no model"
    else:
        scores = [s for (table, s) in recipe.signals() if table == "embed.heads"]
        yield f"embed: {recipe.embed.model}; heads: {', '.join(scores) or 'none'}"
    variants = ", ".join(recipe.caption.variants)
    yield f"caption: {recipe.caption.model}; {variants}"
    check_captions(recipe)
    sides = ", ".join(map(str, recipe.shard.resolutions))
    yield f"shard: {sides} pixels; captions {', '.join(recipe.shard.captions)}"
    training = recipe.quick_train
    plan = training.plan()
    for phase in plan:
        if phase.resolution not in (None, *recipe.shard.resolutions):
            raise RequestError(
                f"quick_train.resolution is {phase.resolution}; the training set has {sides}"
            )
        unknown = set(phase.aspects or ()).difference(recipe.shard.aspects)
        if unknown:
            raise RequestError(
                f"quick_train.aspects has {', '.join(sorted(unknown))}; the training set has "
                f"{', '.join(recipe.shard.aspects)}"
            )
    smallest = min(phase.resolution or min(recipe.shard.resolutions) for phase in plan)
    size = model_size(training.model_copy(update={"resolution": smallest, "phases": ()}))
    if recipe.shard.multiple % size.pixels_a_token:
        raise RequestError(
            f"shard.multiple is {recipe.shard.multiple}; a token of quick_train has a side of "
            f"{size.pixels_a_token} pixels, of which it must be a multiple"
        )
    yield (
        f"quick_train: {training.preset}, {_count(size.parameters)} parameters, "
        f"{_count(size.active)} active for an image token; {size.tokens:,} tokens of "
        f"{size.latent_channels} x 2 x 2 at {smallest} pixels; text of width {size.text_width}"
    )


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _without_direction(order: str) -> str:
    words = order.split()
    while words and words[-1].lower() in ("asc", "desc", "nulls", "first", "last"):
        words.pop()
    return " ".join(words)
