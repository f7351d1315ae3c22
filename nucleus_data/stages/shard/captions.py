"""Which captions a training set has, and what their names mean (`corpus.caption_sets`)."""

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
    """The captions of a sample, lowest to highest quality.

    Raises:
        RequestError: A name means no caption set, or several.
    """
    current = caption_tables(run.pins)
    return find_sets(run.corpus.store, settings.captions, current, CAPTIONS)


def caption_tables(pins: Pins) -> dict[str, str]:
    """Variant of the recipe -> config hash of its captions."""
    return {name: pins.tables[f"{PREFIX}{name}"] for name in pins.variants(PREFIX)}


def check_captions(settings: ShardSettings, pins: Pins, corpus: Corpus | None = None) -> None:
    """Refuses captions that are not there.

    Args:
        settings: How the training set is made.
        pins: Of the recipe, whose variants are known.
        corpus: Where older and imported captions are looked for; without it, only what the recipe
            says is checked.

    Raises:
        RequestError: A name means no caption set, or several.
    """
    current = caption_tables(pins)
    if corpus is None:
        check_names(settings.captions, list(current), CAPTIONS)
    else:
        find_sets(corpus.store, settings.captions, current, CAPTIONS)


def weights_of(
    settings: ShardSettings, run: Run, given: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Weights of captions, by what the training set calls them.

    Args:
        settings: How the training set is made.
        run: The run.
        given: By names as in `shard.captions`, or as the set has them; None for all alike.

    Raises:
        RequestError: A name with a hash is none of the set's.
    """
    if given is None:
        return None
    sets = sets_of(settings, run)
    called = [WEB if s.variant == SOURCE else n for s, n in zip(sets, labels(sets), strict=True)]
    names = dict(zip(settings.captions, called, strict=True))
    tables = {(s.variant, s.config_hash): name for s, name in zip(sets, called, strict=True)}
    found: dict[str, float] = {}
    for name, weight in given.items():
        if AT in name and name not in (*names, *called):
            one = find_set(run.corpus.store, name, caption_tables(run.pins), WEIGHTS)
            if (one.variant, one.config_hash) not in tables:
                raise RequestError(
                    f"{WEIGHTS} names {name!r}, which is none of {CAPTIONS}: "
                    f"{', '.join(settings.captions)}"
                )
            names[name] = tables[one.variant, one.config_hash]
        found[names.get(name, name)] = weight
    return found
