"""Small curated corpora for tests: pictures, the commands' steps without Ray, made-up captions."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.line.steps import open_run, retry, step
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.run import Choice
from nucleus_data.stages.caption.stage import SCHEMA as CAPTION_SCHEMA
from nucleus_data.stages.select.stage import published_selection

NANO = Path(__file__).resolve().parents[2] / "configs/nano/recipe.yaml"


@cache
def picture(seed: int, size=(96, 64), form="PNG", **options) -> bytes:
    """A picture of 12x12 random colours, scaled up; other seeds give clearly other pictures."""
    colours = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize(size, Image.Resampling.HAMMING)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


class CuratedRun:
    """A run of the laptop's recipe in this process, with the stages; it can be asked as a run.

    Args:
        corpus: Its path.
        command: Name of the run.
        overrides: Of the laptop's recipe.
        said: A list that takes the lines for people.
        loop: What does the items; in this process by default.
        limit, sample: Which records are worked on.
        options: See `open_run`.
    """

    def __init__(
        self,
        corpus,
        command="test",
        *overrides,
        said=None,
        loop=InlineLoop,
        limit=None,
        sample=1.0,
        **options,
    ) -> None:
        self.recipe = recipe(corpus, *overrides)
        self.stages = self.recipe.stages()
        say = (lambda _: None) if said is None else said.append
        choice = Choice(limit, sample)
        self.run = open_run(self.recipe, command, loop=loop, choice=choice, say=say, **options)

    def __getattr__(self, name):
        return getattr(self.run, name)

    @property
    def lines(self) -> list[dict]:
        """What the run noted about its stages."""
        return self.folder.stages

    @property
    def failures(self) -> list[dict]:
        """What the run noted about failed shards."""
        return self.folder.failures

    @property
    def training_set(self) -> str | None:
        """The pinned set."""
        return self.pins.training_set

    def do(self, *names: str) -> None:
        """Runs stages one after the other."""
        for name in names:
            step(self.run, self.stages, name)

    def select(self) -> dict[str, int]:
        """Runs `select`; returns how many records are in each state, nothing if it failed."""
        self.do("select")
        made = published_selection(self.corpus.store, self.tables["selection"])
        return made["states"] if made else {}

    def pin(self, name: str) -> None:
        """Pins what a stage would."""
        self.run.pin(self.stages[name].pin(self.run))

    def use_selection(self) -> None:
        """Pins the selection that there is."""
        self.run.pin(self.stages["select"].found(self.run))

    def retry(self, name: str, request=None) -> None:
        """Does again what failed of a stage."""
        retry(self.run, self.stages, name, request)

    def job(self, name: str, **options):
        """What workers need for a row stage."""
        return self.run.job(self.stages[name], **options)


@cache
def recipe(corpus, *overrides: str) -> Recipe:
    """The laptop's recipe for a corpus."""
    return load_recipe(NANO, [f"corpus={corpus}", *overrides])


run = CuratedRun


def inspect(corpus: Corpus, *overrides: str, retry: bool = False) -> None:
    """Measures every picture of a corpus that was not yet, without Ray."""
    made = run(corpus.uri, "inspect", *overrides, dry_run=True)
    job = made.job("inspect", retry=retry)
    for shard in corpus.shards():
        state = job.open(shard)
        for outcome in made.stages["inspect"].process(state.rows()):
            state.accept(outcome)
        state.commit()


def table(corpus: Corpus, name: str, config_hash: str) -> list[dict]:
    """All rows of a table, by shard and row."""
    found = Table(corpus.store, name, config_hash)
    return [row for shard in found.shards() for row in found.read(shard).to_pylist()]


def write_captions(
    corpus: Corpus, config_hash: str, variant: str, captions: dict, more: dict | None = None
) -> None:
    """A caption table as the stage would write it: id -> caption, or None for a failed one.

    `more` has further values of captions, by id.
    """
    target = Table(corpus.store, f"caption.{variant}", config_hash)
    for shard in corpus.shards():
        rows = []
        for record in corpus.records.read(shard, ["shard", "row", "id"]).to_pylist():
            if record["id"] not in captions:
                continue
            text = captions[record["id"]]
            values = {"caption": text, "source": "synthesized", "prompt": variant, "seed": 1}
            values |= (more or {}).get(record["id"], {})
            rows.append({**record, **(values if text else {"error": "caption_empty"})})
        if rows:
            target.append(shard, pa.Table.from_pylist(rows, table_schema(CAPTION_SCHEMA)), {})
