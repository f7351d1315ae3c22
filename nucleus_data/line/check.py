"""Checks of a whole configuration before anything runs: rules, models, captions, the transformer.

Nothing is fetched and no weights are read: the transformer is built on torch's meta device.
"""

from collections.abc import Iterator

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import AT, SOURCE
from nucleus_data.errors import RequestError
from nucleus_data.line.mix import preserve_condition
from nucleus_data.line.recipe import Recipe
from nucleus_data.line.routing import conditions_of
from nucleus_data.stages.caption.check import describe
from nucleus_data.stages.caption.stage import ORIGINS, Caption
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.inspect.stage import Inspect
from nucleus_data.stages.select.check import check_decisions
from nucleus_data.stages.select.stage import Select
from nucleus_data.stages.shard.captions import WEB, check_captions
from nucleus_data.stages.shard.settings import ShardSettings
from nucleus_data.stages.shard.stage import Shard, check_caps
from nucleus_data.stages.train.stage import Train
from nucleus_model.settings.phases import Phase


def check(recipe: Recipe) -> Iterator[str]:
    """Checks everything that can be checked without weights, and without records.

    Where a corpus is named and there, its older and imported captions are known.

    Returns:
        A line for people about each part.

    Raises:
        RequestError: With what is wrong.
    """
    corpus = _corpus(recipe)
    pins = recipe.pins(corpus)
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
    conditions_of(Caption(caption), pins, None)
    preserve_condition(caption, pins, None)
    caption.checks.ready(caption.language)
    yield f"caption: {caption.model}; {describe(caption)}"
    check_captions(shard, pins, corpus)
    check_caps(shard, recipe.section(Select))
    sides = ", ".join(map(str, shard.resolutions))
    yield f"shard: {sides} pixels; captions {', '.join(shard.captions)}"
    plan = training.plan()
    for phase in plan:
        if phase.resolution not in (None, *shard.resolutions):
            raise RequestError(
                f"quick_train.resolution is {phase.resolution}; the training set has {sides}"
            )
        unknown = set(phase.aspects or ()).difference(shard.aspect_names())
        if unknown:
            raise RequestError(
                f"quick_train.aspects has {', '.join(sorted(unknown))}; the training set has "
                f"{', '.join(shard.aspect_names())}"
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


def _corpus(recipe: Recipe) -> Corpus | None:
    """The recipe's corpus, if one is named and can be opened."""
    try:
        return Corpus(recipe.corpus, recipe.storage_options) if recipe.corpus else None
    except RequestError:
        return None


def _check_weights(phase: Phase, shard: ShardSettings) -> None:
    """Refuses caption weights that the training set's captions can't have."""
    variants = [name for name in shard.captions if name != SOURCE]
    sources = [f"{origin}:{name}" for origin in ORIGINS for name in variants]
    # What is called short@HASH in one place may be called short in the other.
    sources += [
        f"{origin}:{name.partition(AT)[0]}"
        for origin in (*ORIGINS, "imported")
        for name in variants
    ]
    sources += [WEB, SOURCE] if SOURCE in shard.captions else []
    given = {name for name, weight in (phase.captions or {}).items() if weight}
    known = {part for source in sources for part in (source, *source.split(":"))}
    given -= {name for name in given if name.partition(AT)[0] in known}
    if unknown := sorted(given - known):
        raise RequestError(
            f"quick_train.captions has {', '.join(unknown)}; the training set has "
            f"{', '.join(sorted(known))}"
        )


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"
