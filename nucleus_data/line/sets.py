"""Makes the training sets of a comparison, by running the stages that are not done yet.

    make_set(recipe, "quick-train", workers)                             # select, shard
    make_set(varied, "quick-train", workers, steps=steps_of(varied, ["dedup.distance"], corpus))

A recipe's set needs `select` and `shard`. A variant that differs in a key also needs the stages
from the key's section on; earlier stages are not run.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from nucleus_data.config import parse_override
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import AT
from nucleus_data.corpus.tables import plain
from nucleus_data.corpus.told import key_of
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.lines import LINES
from nucleus_data.line.recipe import STAGE_NAMES, Recipe, spelled_out
from nucleus_data.line.steps import open_run, run_steps
from nucleus_data.runner.run import MakeLoop, Run, Say
from nucleus_data.runner.workers import Workers
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stage import RowStage, Stage
from nucleus_data.stages.caption.stage import Caption
from nucleus_data.stages.compare.members import TABLE as COPIES
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.select.settings import SelectSettings
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import Select, published_selection
from nucleus_data.stages.shard.stage import Shard
from nucleus_data.stages.train.stage import Train

STEPS = ("select", "shard")
_ALL = LINES["all"].steps
# All stages between ingest and training, in order.
LINE = _ALL[_ALL.index("inspect") : _ALL.index("shard") + 1]


@dataclass(frozen=True)
class MadeSet:
    """A training set and its provenance.

    Attributes:
        folder: The set.
        edition: Config hash of its caption edition.
        tables: Table -> config hash, for all tables that its run pinned.
        kept: Number of records that its selection keeps; None if unknown.
    """

    folder: SetFolder
    edition: str
    tables: Mapping[str, str]
    kept: int | None


def make_set(
    recipe: Recipe,
    command: str,
    workers: Workers,
    *,
    steps: Iterable[str] = STEPS,
    loop: MakeLoop | None = None,
    say: Say = print,
) -> MadeSet:
    """Makes a recipe's training set, as far as it does not exist yet.

    Args:
        recipe: The recipe.
        command: Name of the run, for people.
        workers: The workers.
        steps: Names of the stages to run; `shard` is the last.
        loop: Makes the loop that processes a stage's items; None for one with the workers.
        say: Receives lines for people.

    Raises:
        CorpusError: Shards failed.
        As the stages do.
    """
    steps = tuple(steps)
    run = open_run(recipe, command, loop=loop, workers=workers, steps=steps, say=say)
    stages = recipe.stages()
    run_steps(run, stages, steps)
    return _made(run, stages)


def make_of_selection(
    recipe: Recipe,
    selection: str,
    plan: Mapping[str, Any],
    command: str,
    workers: Workers,
    *,
    loop: MakeLoop | None = None,
    say: Say = print,
) -> MadeSet:
    """Makes the training set of an existing selection, with the recipe's `shard` and captions.

    Args:
        recipe: The recipe; its rules are not used.
        selection: Config hash of the selection.
        plan: The `plan.json` of a run that pinned the selection.
        command: Name of the run, for people.
        workers: The workers.
        loop: Makes the loop that processes a stage's items; None for one with the workers.
        say: Receives lines for people.

    Raises:
        As `make_set` does.
    """
    run = open_run(recipe, command, loop=loop, workers=workers, steps=("shard",), say=say)
    stages = dict(recipe.stages())
    pairs = plan.get("tables", {}).get(PAIRS)
    pins = {SELECTION: selection} | ({PAIRS: pairs} if pairs else {})
    before: Any = stages[Select.name]
    select = _Given(_settings(plan, recipe), before.dedup, before.compare, pins)
    shard = Shard(recipe.section(Shard), select, stages[Caption.name])
    stages |= {Select.name: select, Shard.name: shard}
    stages[Train.name] = Train(recipe.section(Train), shard)
    run_steps(run, stages, ("shard",))
    return _made(run, stages)


def trained_set(recipe: Recipe, command: str, workers: Workers) -> MadeSet:
    """Returns the set that `quick_train` would train on.

    Raises:
        RequestError: It does not exist.
    """
    run = open_run(recipe, command, workers=workers, dry_run=True, say=lambda _: None)
    stages = recipe.stages()
    train = stages[Train.name]
    assert isinstance(train, Train)
    run.pin(train.pin(run))
    return _made(run, stages)


class _Given(Select):
    """A select stage that stands for an existing selection, whatever the current rules are."""

    def __init__(
        self, settings: SelectSettings, dedup: Any, compare: Any, pins: Mapping[str, str]
    ) -> None:
        super().__init__(settings, dedup, compare)
        self.pins = pins

    def found(self, run: Run) -> Mapping[str, str]:
        """The pins of the selection."""
        return self.pins


def _settings(plan: Mapping[str, Any], recipe: Recipe) -> SelectSettings:
    """Returns the settings that a selection was made with, for the set's card."""
    try:
        return SelectSettings.model_validate(plan["config"]["select"])
    except (KeyError, TypeError, ValidationError):  # of another version
        return recipe.section(Select)


def _made(run: Run, stages: Mapping[str, Stage[Any]]) -> MadeSet:
    if run.name and run.failed_shards:
        raise CorpusError(
            f"{run.failed_shards} shards failed, so there is no set to compare; what was done is "
            "kept: run the same command again"
        )
    train = stages[Train.name]
    assert isinstance(train, Train)
    folder, edition = train.found(run)
    made = published_selection(run.corpus.store, run.tables.get(SELECTION, ""))
    kept = None if made is None else int(made["states"]["kept"])
    return MadeSet(folder, edition, dict(run.tables), kept)


def check_varied(key: str) -> None:
    """Raises RequestError for a key that changes neither a selection, nor captions, nor a set."""
    section = key.partition(".")[0]
    if section in LINE:
        return
    why = "this changes neither a selection, nor captions, nor a set"
    if section == "ingest":
        why = "this changes what is in the corpus, for both sides"
    elif section == Train.name:
        why = "--preset decides how both sides train"
    elif section not in STAGE_NAMES:
        why = f"{section!r} is not a section of the recipe that affects a set"
    raise RequestError(f"--vary {key}: {why}; allowed: keys of {', '.join(dict.fromkeys(LINE))}")


def values_of(varied: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the changes of each variant of the recipe.

    Different keys are changed together. A key given several times is swept: each of its values
    makes a variant.

    Args:
        varied: `key.sub=value`; keys of `select` may leave `select.` out.

    Raises:
        RequestError: A key does not affect the training set, or more than one key is swept.
    """
    by_key: dict[str, list[str]] = {}
    for change in dict.fromkeys(spelled_out(varied)):
        parse_override(change)
        check_varied(key_of(change))
        by_key.setdefault(key_of(change), []).append(change)
    swept = [key for key, changes in by_key.items() if len(changes) > 1]
    if len(swept) > 1:
        raise RequestError(
            f"--vary: {' and '.join(swept)} have several values each; only one key can be swept "
            "at a time"
        )
    together = tuple(changes[0] for key, changes in by_key.items() if key not in swept)
    if not swept:
        return [together]
    return [(*together, change) for change in by_key[swept[0]]]


def steps_of(recipe: Recipe, keys: Collection[str], corpus: Corpus) -> tuple[str, ...]:
    """Returns the stages that make the training set of a variant of the recipe, in order.

    These are the stages of the changed sections, `select` and `shard`, and later stages that were
    done in the corpus before: the variant may keep records that the original rejected, which then
    have to be compared, embedded, scored and captioned as well.

    Args:
        recipe: The variant.
        keys: The changed keys.
        corpus: The corpus.
    """
    sections = {key.partition(".")[0] for key in keys}
    first = min(LINE.index(section) for section in sections)
    stages = recipe.stages()

    def needed(name: str) -> bool:
        if name in sections or name in STEPS:
            return True
        if name == "dedup":
            return recipe.section(Select).drop_duplicates
        if name == "compare":
            return bool(corpus.config_hashes(COPIES))
        if name == "caption" and not _own_captions(recipe):
            return False
        return name in ("embed", "score", "caption") and _done(stages[name], corpus)

    return tuple(name for name, _ in groupby(filter(needed, LINE[first:])))


def _own_captions(recipe: Recipe) -> bool:
    """Whether the set uses captions of a variant of the recipe."""
    names = {name.partition(AT)[0] for name in recipe.section(Shard).captions}
    return bool(names & set(recipe.section(Caption).variants))


def _done(stage: Stage[Any], corpus: Corpus) -> bool:
    """Whether a row stage has ever written a table in a corpus."""
    if not isinstance(stage, RowStage):
        return False
    return any(corpus.config_hashes(plain(spec.name)) for spec in stage.tables())
