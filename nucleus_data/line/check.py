"""Checks a whole configuration before anything runs: rules, models, captions, the transformer.

Nothing is downloaded and no weights are read: the transformer is built on torch's meta device.
"""

from collections.abc import Iterator

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import AT, SOURCE
from nucleus_data.errors import RequestError
from nucleus_data.line.mix import preserve_condition
from nucleus_data.line.recipe import Recipe
from nucleus_data.line.routing import conditions_of
from nucleus_data.printed import counted
from nucleus_data.runner.pins import Pins
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
from nucleus_model.settings.settings import QuickTrainSettings


def check(recipe: Recipe) -> Iterator[str]:
    """Checks everything that can be checked without model weights and records.

    If the recipe names an existing corpus, names of its older and imported caption sets are valid.

    Args:
        recipe: The configuration.

    Yields:
        Lines for people, one or more about each part.

    Raises:
        RequestError: The first thing that is wrong.
    """
    corpus = _corpus(recipe)
    pins = recipe.pins(corpus)
    selecting = list(_select_lines(recipe, pins))  # a wrong rule is reported before any line
    yield f"inspect: {', '.join(recipe.section(Inspect).signals)}"
    yield from selecting
    yield from _embed_lines(recipe, pins)
    yield _caption_line(recipe, pins)
    shard = recipe.section(Shard)
    check_captions(shard, pins, corpus)
    check_caps(shard, recipe.section(Select))
    yield f"shard: {_resolutions(shard)} pixels; captions {', '.join(shard.captions)}"
    for phase in recipe.section(Train).plan():
        _check_phase(phase, shard)
    yield _train_line(recipe.section(Train), shard)


def _select_lines(recipe: Recipe, pins: Pins) -> Iterator[str]:
    """Checks the rules, tiers and curriculum, and yields lines about them. Raises RequestError."""
    rules, _, tiers, curriculum = check_decisions(recipe.section(Select), pins)
    upstream = ", ".join(rule.name for rule in rules if "records" in rule.tables)
    unknown = f"; types of upstream columns are not known yet ({upstream})" if upstream else ""
    yield f"select: {len(rules)} rules{unknown}"
    if tiers:
        yield f"select: {len(tiers.bounds)} quality tiers by {tiers.score.text}"
    if curriculum and curriculum.fit:
        fit = curriculum.fit
        yield (
            f"select: curriculum buckets, with constants fitted on {counted(fit.records, 'record')}"
        )


def _embed_lines(recipe: Recipe, pins: Pins) -> Iterator[str]:
    """Yields lines about the embedding models and their scores."""
    models = recipe.section(Embed).all_models().items()
    if not models:
        yield "embed: no model"
        return
    yield f"embed: {', '.join(f'{name} {model.model}'.strip() for name, model in models)}"
    scores = [signal for table, signal in pins.signals() if table.startswith("embed.")]
    yield f"score: {', '.join(scores)}"


def _caption_line(recipe: Recipe, pins: Pins) -> str:
    """Checks the caption settings, and returns a line about them. Raises RequestError."""
    caption = recipe.section(Caption)
    conditions_of(Caption(caption), pins, None)
    preserve_condition(caption, pins, None)
    caption.checks.ready(caption.language)
    return f"caption: {caption.model}; {describe(caption)}"


def _resolutions(shard: ShardSettings) -> str:
    return ", ".join(map(str, shard.resolutions))


def _check_phase(phase: Phase, shard: ShardSettings) -> None:
    """Refuses a phase whose resolution, aspects or captions the training set lacks."""
    if phase.resolution not in (None, *shard.resolutions):
        raise RequestError(
            f"quick_train.resolution is {phase.resolution}, but the training set has "
            f"{_resolutions(shard)}"
        )
    unknown = set(phase.aspects or ()).difference(shard.aspect_names())
    if unknown:
        raise RequestError(
            f"quick_train.aspects has {', '.join(sorted(unknown))}, but the training set has "
            f"{', '.join(shard.aspect_names())}"
        )
    _check_weights(phase, shard)


def _train_line(training: QuickTrainSettings, shard: ShardSettings) -> str:
    """Builds the transformer on the meta device, and returns a line about it.

    Raises:
        RequestError: Sides of the training set's buckets are no multiples of a token's side.
    """
    try:
        from nucleus_model.network.size import model_size
    except ModuleNotFoundError as error:
        return (
            f"quick_train: the transformer was not built, as {error.name} is not installed "
            "(pip install 'nucleus-data[train]')"
        )
    # The number of parameters does not depend on the resolution; tokens are those of the smallest.
    smallest = min(phase.resolution or min(shard.resolutions) for phase in training.plan())
    size = model_size(training.model_copy(update={"resolution": smallest, "phases": ()}))
    if shard.multiple % size.pixels_a_token:
        raise RequestError(
            f"shard.multiple is {shard.multiple}, but must be a multiple of "
            f"{size.pixels_a_token}, the side of a quick_train token in pixels"
        )
    return (
        f"quick_train: {training.preset}, {_count(size.parameters)} parameters, "
        f"{_count(size.active)} active for an image token; {size.tokens:,} tokens of "
        f"{size.latent_channels} x 2 x 2 at {smallest} pixels; text of width {size.text_width}"
    )


def _corpus(recipe: Recipe) -> Corpus | None:
    """Returns the recipe's corpus; None if none is named, or it can't be opened."""
    try:
        return Corpus(recipe.corpus, recipe.storage_options) if recipe.corpus else None
    except RequestError:
        return None


def _check_weights(phase: Phase, shard: ShardSettings) -> None:
    """Refuses caption weights that the training set's captions can't have."""
    variants = [name for name in shard.captions if name != SOURCE]
    sources = [f"{origin}:{name}" for origin in ORIGINS for name in variants]
    # A set may name a variant with its hash (short@1a2b3c4d) where weights name it without.
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
            f"quick_train.captions has {', '.join(unknown)}, but the training set has "
            f"{', '.join(sorted(known))}"
        )


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"
