"""Resolves the names in `shard.captions` to caption tables (`corpus.caption_sets`)."""

from collections.abc import Mapping

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import (
    AT,
    PREFIX,
    SOURCE,
    CaptionSet,
    check_names,
    find_set,
    find_sets,
    labels,
)
from nucleus_data.errors import RequestError
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.run import Run
from nucleus_data.stages.shard.edition import WEB
from nucleus_data.stages.shard.settings import ShardSettings

__all__ = ["WEB", "check_captions", "sets_of", "weights_of"]
CAPTIONS, WEIGHTS = "shard.captions", "quick_train.captions"


def sets_of(settings: ShardSettings, run: Run) -> list[CaptionSet]:
    """Returns the caption sets of a training set, from lowest to highest quality.

    Raises:
        RequestError: A name matches no caption set, or several.
    """
    current = caption_tables(run.pins)
    return find_sets(run.corpus.store, settings.captions, current, CAPTIONS)


def caption_tables(pins: Pins) -> dict[str, str]:
    """Returns the recipe's variants -> config hash of their captions."""
    return {name: pins.tables[f"{PREFIX}{name}"] for name in pins.variants(PREFIX)}


def check_captions(settings: ShardSettings, pins: Pins, corpus: Corpus | None = None) -> None:
    """Refuses names of captions that do not exist.

    Args:
        settings: How the training set is made.
        pins: The recipe's pins, with its variants.
        corpus: Where to look for older and imported captions; None to check the recipe only.

    Raises:
        RequestError: A name matches no caption set, or several.
    """
    current = caption_tables(pins)
    if corpus is None:
        check_names(settings.captions, list(current), CAPTIONS)
    else:
        find_sets(corpus.store, settings.captions, current, CAPTIONS)


def weights_of(
    settings: ShardSettings, run: Run, given: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Translates `quick_train.captions` to the labels that the training set uses.

    Args:
        settings: How the training set is made.
        run: The run.
        given: Weights by names as in `shard.captions`, or by the set's labels; None for equal
            weights.

    Raises:
        RequestError: A name with a hash is not among the set's captions.
    """
    if given is None:
        return None
    sets = sets_of(settings, run)
    called = [WEB if s.variant == SOURCE else n for s, n in zip(sets, labels(sets), strict=True)]
    names = dict(zip(settings.captions, called, strict=True))
    tables = {(s.variant, s.config_hash): name for s, name in zip(sets, called, strict=True)}
    weights: dict[str, float] = {}
    for name, weight in given.items():
        if AT in name and name not in (*names, *called):
            named = find_set(run.corpus.store, name, caption_tables(run.pins), WEIGHTS)
            if (named.variant, named.config_hash) not in tables:
                raise RequestError(
                    f"{WEIGHTS} has {name!r}, which is not in {CAPTIONS}: "
                    f"{', '.join(settings.captions)}"
                )
            names[name] = tables[named.variant, named.config_hash]
        weights[names.get(name, name)] = weight
    return weights
