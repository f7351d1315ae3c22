"""Checks of a whole configuration before anything runs: rules, models, captions, the transformer.

Nothing is fetched and no weights are read: the transformer is built on torch's meta device.
"""

from collections.abc import Iterator

from nucleus_data.errors import RequestError
from nucleus_data.line.recipe import Recipe
from nucleus_data.stages.caption.check import describe
from nucleus_data.stages.caption.stage import ORIGINS, Caption
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.inspect.stage import Inspect
from nucleus_data.stages.select.check import check_decisions
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.stage import Shard, check_caps, check_captions
from nucleus_data.stages.train.stage import Train
from nucleus_model.settings.phases import Phase


def check(recipe: Recipe) -> Iterator[str]:
    """Checks everything that can be checked without a corpus and without weights.

    Returns:
        A line for people about each part.

    Raises:
        RequestError: With what is wrong.
    """
    pins = recipe.pins()
    shard, training = recipe.section(Shard), recipe.section(Train)
    embed, caption = recipe.section(Embed), recipe.section(Caption)
    rules, _, tiers, curriculum = check_decisions(recipe.section(Select), pins)
    reading = [r.name for r in rules if "records" in r.tables]
    yield f"inspect: {', '.join(recipe.section(Inspect).signals)}"
    yield f"select: {len(rules)} rules" + (
        f"; the types of upstream columns are not known yet ({', '.join(reading)})"
        if reading
        else ""
    )
    if tiers:
        yield f"select: {len(tiers.bounds)} quality tiers by {tiers.score.text}"
    if curriculum and curriculum.fit:
        fit = curriculum.fit
        yield f"select: curriculum buckets, with constants of {fit.records:,} records"
    models = ", ".join(f"{name} {each.model}".strip() for name, each in embed.all_models().items())
    if not models:
        yield "embed: no model"
    else:
        yield f"embed: {models}"
        scores = [signal for table, signal in pins.signals() if table.startswith("embed.")]
        yield f"score: {', '.join(scores)}"
    caption.checks.ready(caption.language)
    yield f"caption: {caption.model}; {describe(caption)}"
    check_captions(shard, pins.variants("caption."))
    check_caps(shard, recipe.section(Select))
    sides = ", ".join(map(str, shard.resolutions))
    yield f"shard: {sides} pixels; captions {', '.join(shard.captions)}"
    plan = training.plan()
    for phase in plan:
        if phase.resolution not in (None, *shard.resolutions):
            raise RequestError(
                f"quick_train.resolution is {phase.resolution}; the training set has {sides}"
            )
        unknown = set(phase.aspects or ()).difference(shard.aspects)
        if unknown:
            raise RequestError(
                f"quick_train.aspects has {', '.join(sorted(unknown))}; the training set has "
                f"{', '.join(shard.aspects)}"
            )
        _check_weights(phase, shard)
    try:
        from nucleus_model.network.size import model_size
    except ModuleNotFoundError as error:
        yield (
            f"quick_train: the transformer is not built, as {error.name} is not installed "
            "(pip install 'nucleus-data[train]')"
        )
        return
    # The counts of a model do not depend on the resolution; the tokens that are told are of the
    # smallest one.
    smallest = min(phase.resolution or min(shard.resolutions) for phase in plan)
    size = model_size(training.model_copy(update={"resolution": smallest, "phases": ()}))
    if shard.multiple % size.pixels_a_token:
        raise RequestError(
            f"shard.multiple is {shard.multiple}; a token of quick_train has a side of "
            f"{size.pixels_a_token} pixels, of which it must be a multiple"
        )
    yield (
        f"quick_train: {training.preset}, {_count(size.parameters)} parameters, "
        f"{_count(size.active)} active for an image token; {size.tokens:,} tokens of "
        f"{size.latent_channels} x 2 x 2 at {smallest} pixels; text of width {size.text_width}"
    )


def _check_weights(phase: Phase, shard: ShardSettings) -> None:
    """Refuses caption weights that the training set's captions can't have."""
    variants = [name for name in shard.captions if name != "source"]
    sources = [f"{origin}:{name}" for origin in ORIGINS for name in variants]
    sources += ["web"] * ("source" in shard.captions)
    given = {name for name, weight in (phase.captions or {}).items() if weight}
    known = {part for source in sources for part in (source, *source.split(":"))}
    if unknown := sorted(given - known):
        raise RequestError(
            f"quick_train.captions has {', '.join(unknown)}; the training set has "
            f"{', '.join(sorted(known))}"
        )


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"
