"""Resolves the names of the two sides of a comparison to training sets, making them if necessary.

| name | training set |
|---|---|
| a folder or URL with a `manifest.parquet` | that set |
| `NAME`, `NAME/HASH`, the beginning of a HASH | a set of the corpus |
| the beginning of a selection's hash, a run's name | the set of that selection |
| a recipe's file (`.yaml`) | the recipe's set |
| any of these and `@EDITION` | the same set with that caption edition |
| `@EDITION` alone | the other side's set with that caption edition |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nucleus_data.config import located
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.runs import plans
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.told import key_of
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.line.sets import (
    STEPS,
    MadeSet,
    make_of_selection,
    make_set,
    steps_of,
    trained_set,
)
from nucleus_data.runner.run import MakeLoop, Say
from nucleus_data.runner.workers import Workers
from nucleus_data.sets.layout import MANIFEST, ROOT, SetFolder
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.views.compare import find_selection
from nucleus_data.views.export_asked import sets_called
from nucleus_model.training.verdict.call import split_edition
from nucleus_model.training.verdict.plan import Arm

RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class Side:
    """A side of a comparison.

    Attributes:
        arm: The set and its caption edition, as training runs take them.
        folder: The set.
        corpus: Root of the set's corpus; empty if it is in none.
        pairs: Config hash of the table of pairs of copies that the set was made with; None if there
            is none.
        kept: Number of records that the set's selection keeps; None if unknown.
    """

    arm: Arm
    folder: SetFolder
    corpus: str = ""
    pairs: str | None = None
    kept: int | None = None

    @property
    def edition(self) -> str:
        """Config hash of the caption edition. Raises RequestError if several match."""
        return self.folder.edition(self.arm.edition).hash


class Sides:
    """Resolves the sides of one command, and makes sets that do not exist.

    Args:
        command: The command, for people.
        path: The file of the command's recipe.
        recipe: The command's recipe; names are looked up in its corpus.
        overrides: `key.sub=value` of the command; also applied to other recipes' files.
        workers: The workers.
        storage_options: Options for fsspec, for sets outside the corpus; None for the recipe's.
        loop: Makes the loop that does a stage's items; by default one with the workers.
        say: Where lines for people go.
    """

    def __init__(
        self,
        command: str,
        path: Path,
        recipe: Recipe,
        overrides: Sequence[str],
        workers: Workers,
        *,
        storage_options: Mapping[str, Any] | None = None,
        loop: MakeLoop | None = None,
        say: Say = print,
    ) -> None:
        self.command, self.path, self.recipe = command, path, recipe
        self.overrides = tuple(overrides)
        self.workers, self.loop, self.say = workers, loop, say
        self.options = storage_options or recipe.storage_options
        self._corpus = recipe.corpus  # that of all recipes

    def named(self, text: str, other: Side | None = None) -> Side:
        """Returns the side with a name, and makes its set if necessary.

        Args:
            text: A name, in one of the forms listed in the module's docstring.
            other: The other side, for `@EDITION` alone.

        Raises:
            RequestError: Nothing has this name, or several things do.
            As the stages do that make a set.
        """
        name, edition = split_edition(text)
        if text.startswith("@"):
            if other is None or not edition:
                raise RequestError(
                    f"{text!r} names captions of the other side's set, which only B can do; A must "
                    "be a set, a selection or a recipe: A@EDITION"
                )
            side = replace(other, arm=replace(other.arm, edition=edition))
        elif name.endswith(RECIPES):
            side = self.of_recipe(load_recipe(located(Path(name)), self.overrides), Path(name).name)
        else:
            side = self._of_set(name) or self._of_selection(name)
        if edition is not None:
            side = replace(side, arm=replace(side.arm, edition=edition))
        _ = side.edition  # raises if there are no such captions, before anything is trained
        return side

    def of_recipe(self, recipe: Recipe, label: str, steps: Iterable[str] = STEPS) -> Side:
        """Returns the side of a recipe, and makes its set if necessary.

        Args:
            recipe: The recipe.
            label: Its name for people.
            steps: Names of the stages that make the set.

        Raises:
            RequestError: The recipe has another corpus than the one before.
            As the stages do.
        """
        if self._corpus and recipe.corpus != self._corpus:
            raise RequestError(
                f"{label}: its corpus is {recipe.corpus or 'not set'}, but the other's is "
                f"{self._corpus}; recipes to compare must have the same corpus: give corpus=PATH"
            )
        self._corpus = recipe.corpus
        made = make_set(
            recipe, self.command, self.workers, steps=steps, loop=self.loop, say=self.say
        )
        return self._of_made(made, recipe, label)

    def trained(self) -> Side:
        """Returns the side that `nucleus quick-train` trains on. Raises RequestError if missing."""
        return self._of_made(
            trained_set(self.recipe, self.command, self.workers), self.recipe, "the recipe"
        )

    def varied(self, changes: Sequence[str]) -> Side:
        """Returns the side of a variant of the command's recipe, and makes its set if necessary.

        Args:
            changes: The changed settings, `key.sub=value`.
        """
        recipe = load_recipe(self.path, [*self.overrides, *changes])
        return self.of_recipe(recipe, ", ".join(changes), self.steps(changes))

    def steps(self, changes: Sequence[str]) -> tuple[str, ...]:
        """Returns the names of the stages that make the set of a variant."""
        recipe = load_recipe(self.path, [*self.overrides, *changes])
        corpus = Corpus(recipe.corpus, recipe.storage_options)
        return steps_of(recipe, [key_of(change) for change in changes], corpus)

    def there(self, text: str) -> bool:
        """Whether a side's set exists, so that `named` would make nothing. Raises RequestError."""
        name, _ = split_edition(text)
        if text.startswith("@"):
            return True
        return not name.endswith(RECIPES) and self._of_set(name) is not None

    def forecast(self, text: str) -> str:
        """Describes what `named` would do, without making anything."""
        name, _ = split_edition(text)
        if text.startswith("@"):
            return f"{text}: other captions of the same set"
        if name.endswith(RECIPES):
            load_recipe(located(Path(name)), self.overrides)
            return f"{name}: the recipe's set, made by {', '.join(STEPS)} unless it exists"
        if (side := self._of_set(name)) is not None:
            return f"{name}: the set {side.folder.url()}"
        return f"selection {self._selection(name)[0]}: its set, made by shard unless it exists"

    def _of_made(self, made: MadeSet, recipe: Recipe, label: str) -> Side:
        name = f"{label} ({made.folder.path.removeprefix(f'{ROOT}/')})"
        arm = Arm(made.folder.url(), made.edition, recipe.storage_options, name)
        pairs = made.tables.get(PAIRS) or _pairs_of(made.folder.store, made.folder.path)
        return Side(arm, made.folder, recipe.corpus, pairs, made.kept)

    def _of_set(self, name: str) -> Side | None:
        """Returns the side of a set, by folder, name or hash; None if there is no such set."""
        if "/" in name or Path(name).is_dir():
            folder = SetFolder(Store(name, self.options))
            if folder.published:
                return in_corpus(folder, self.options, name)
        if not self.recipe.corpus:
            raise RequestError(
                f"{name!r} is not a training set (it has no {MANIFEST}); give its folder "
                "(sets/NAME/HASH in a corpus), a recipe's file (.yaml), or a name and corpus=CORPUS"
            )
        store = Store(self.recipe.corpus, self.recipe.storage_options)
        fitting, _ = sets_called(name, store)
        if len(fitting) > 1:
            known = ", ".join(each.path.removeprefix(f"{ROOT}/") for each in fitting)
            raise RequestError(
                f"{self.recipe.corpus}: {name!r} matches several training sets: {known}; "
                "give NAME/HASH"
            )
        if not fitting:
            return None
        path = fitting[0].path
        arm = Arm(fitting[0].url(), None, self.recipe.storage_options, path.removeprefix("sets/"))
        return Side(arm, fitting[0], self.recipe.corpus, _pairs_of(store, path))

    def _of_selection(self, name: str) -> Side:
        """Returns the side of a selection, by the beginning of its hash or a run's name."""
        found, plan = self._selection(name)
        made = make_of_selection(
            self.recipe, found, plan, self.command, self.workers, loop=self.loop, say=self.say
        )
        return self._of_made(made, self.recipe, f"selection {found}")

    def _selection(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """Returns a selection's config hash, and the plan of a run that pinned it."""
        corpus = Corpus(self.recipe.corpus, self.recipe.storage_options)
        known = dict(plans(corpus.store))
        try:
            found = find_selection(corpus, name.removeprefix(f"{SELECTION}/"), known)
        except RequestError as error:
            _, every = sets_called(name, corpus.store)
            sets = ", ".join(each.path.removeprefix(f"{ROOT}/") for each in every) or "none"
            raise RequestError(
                f"{corpus.uri} has no training set {name!r} (sets: {sets}), and {error}. The file "
                "of a recipe must end in .yaml"
            ) from None
        pinned = (p for p in known.values() if (p.get("tables") or {}).get(SELECTION) == found)
        return found, next(pinned, {})


def in_corpus(folder: SetFolder, options: Mapping[str, Any], name: str) -> Side:
    """Returns the side of a set's folder, with its corpus if it is in one."""
    url = folder.url().rstrip("/")
    side = Side(Arm(url, None, options, name), folder)
    root, *place = url.rsplit("/", 3)
    if len(place) < 3 or place[0] != ROOT:
        return side
    try:
        corpus = Corpus(root, options)
    except (RequestError, CorpusError):
        return side
    return replace(side, corpus=root, pairs=_pairs_of(corpus.store, "/".join(place)))


def _pairs_of(store: Store, path: str) -> str | None:
    """Returns the config hash of the pairs that a set was made with, by the newest run with it.

    If no run's plan names the set, returns the pairs of the newest run; None if there are none.
    """
    newest = None
    for _, plan in plans(store):
        pairs = (plan.get("tables") or {}).get(PAIRS)
        if pairs and plan.get("set") == path:
            return str(pairs)
        newest = newest or pairs
    return newest


def check_differ(a: Side, b: Side) -> None:
    """Refuses to compare a set with itself. Raises RequestError."""
    if same(a, b):
        raise RequestError(
            f"nothing to compare: {a.folder.url()} and {b.folder.url()} have the same pictures "
            f"and the same captions {a.edition}"
        )


def same(a: Side, b: Side) -> bool:
    """Whether two sides have the same pictures and captions: the same set, or sets with equal tars.

    A variant of a recipe whose rule rejects nothing has a set of its own, with equal tars.
    """
    if a.edition != b.edition:
        return False
    if a.folder.url() == b.folder.url():
        return True
    # Only within one corpus does an edition's hash determine the texts of its captions.
    return bool(a.corpus) and a.corpus == b.corpus and _tars(a.folder) == _tars(b.folder)


def _tars(folder: SetFolder) -> list[tuple[str, str, str]]:
    return [(tar.path, tar.sha256, tar.index_sha256) for tar in folder.manifest()]
