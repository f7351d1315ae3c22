"""Training sets made by the stages themselves, in this process: what commands do, without Ray.

    corpus = Line(folder / "corpus")
    corpus.run("ingest", "inspect", "dedup", "select", source=pictures)
    a = corpus.shard("source")              # an `Arm`: the set, with the captions that came with it
    corpus.import_texts("swapped", swapped(texts_of(a), 0.3))
    b = corpus.shard("swapped")             # the same set, with other captions

All of it goes on where it was: what is done is found again by its hash.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.line.recipe import load_recipe
from nucleus_data.line.steps import open_run, step
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.caption.importing.imported import import_captions, plan_import
from nucleus_model.training.verdict.plan import Arm

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "nano"
RECIPE = CONFIGS / "recipe.yaml"
CHOOSING = ("ingest", "inspect", "dedup", "select")


@dataclass(frozen=True)
class Line:
    """A corpus, and the recipe that is run on it.

    Attributes:
        folder: Of the corpus; made by the first stage.
        recipe: YAML file.
        overrides: Of the recipe, `key.sub=value`.
    """

    folder: Path
    recipe: Path = RECIPE
    overrides: tuple[str, ...] = ()

    def run(self, *names: str, source: Path | None = None, more: tuple[str, ...] = ()) -> Run:
        """Runs stages one after the other.

        Args:
            names: Of the stages.
            source: What `ingest` takes.
            more: Further overrides.

        Raises:
            RuntimeError: A shard failed.
        """
        given = () if source is None else (f"ingest.source={source}",)
        recipe = load_recipe(self.recipe, [f"corpus={self.folder}", *self.overrides, *given, *more])
        stages = recipe.stages()
        run = open_run(
            recipe, "cases", loop=InlineLoop, create=source is not None, say=lambda line: None
        )
        for name in names:
            step(run, stages, name)
        if run.failed_shards:
            raise RuntimeError(f"{self.folder}: {run.failed_shards} shards failed: {run.name}")
        return run

    def shard(self, captions: str, name: str = "") -> Arm:
        """The training set with captions of one name.

        Args:
            captions: As `shard.captions` takes them: `source`, a variant, an import.
            name: For people; by default the captions' name.
        """
        run = self.run("shard", more=(f"shard.captions=[{captions}]",))
        folder = run.corpus.store.path(str(run.pins.training_set))
        return Arm(folder, run.pins.edition, name=name or captions)

    def import_texts(self, name: str, texts: Mapping[str, str], by: str = "id") -> None:
        """Imports captions, as `nucleus captions import` does.

        Args:
            name: What they will be called.
            texts: Id or key of a record -> its caption.
            by: Which of the two: `id` or `key`.
        """
        lines = [json.dumps({by: one, "caption": text}) for one, text in sorted(texts.items())]
        file = self.folder.with_name(f"{self.folder.name}-{name}.jsonl")
        file.write_text("\n".join(lines), encoding="utf-8")
        corpus = Corpus(str(self.folder))
        variants = load_recipe(self.recipe, [f"corpus={self.folder}"]).pins().variants("caption.")
        columns = dict.fromkeys(("id", "key", "url")) | {by: by}
        import_captions(
            corpus,
            plan_import(str(file), name, variants, corpus, columns=columns, caption="caption"),
        )


def texts_of(arm: Arm) -> dict[str, str]:
    """Id -> the best caption, of a set's pictures that have one."""
    folder = SetFolder(Store(arm.folder))
    edition = folder.edition(arm.edition)
    rows = (row for tar in folder.manifest() for row in edition.captions(tar.path).to_pylist())
    return {row["id"]: row["captions"][-1] for row in rows if row["captions"]}


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that is made whole or not at all.

    Args:
        folder: What it will be called.
        make: Makes it, under the name that it is given.
    """
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        make(part)
        part.rename(folder)
    return folder
