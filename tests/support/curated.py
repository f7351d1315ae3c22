"""Small curated corpora for tests: pictures, the commands' steps without Ray, made-up captions."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.runner.loop import FailedShard, StageReport, _run_rows
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.run import Run
from nucleus_data.stages.caption.stage import SCHEMA as CAPTION_SCHEMA

NANO = Path(__file__).resolve().parents[2] / "configs/nano/recipe.yaml"


def picture(seed: int, size=(96, 64), form="PNG", **options) -> bytes:
    """A picture of 12x12 random colours, scaled up; other seeds give clearly other pictures."""
    colours = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize(size, Image.Resampling.HAMMING)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


class InlineLoop:
    """The runner's loop in this process: no Ray, items in the order of `arrange`."""

    arrange = staticmethod(list)

    def __init__(self, name, work, resources) -> None:
        self.work = work
        self.report = StageReport(name)

    def run(self, items, total=None) -> StageReport:
        for item in type(self).arrange(items):
            try:
                if isinstance(self.work, StageJob):
                    summary = _run_rows(self.work, item)
                else:
                    summary = self.work.run(item.number)
            except Exception as error:
                failed = FailedShard(item.number, f"{type(error).__name__}: {error}", "")
                self.report.failed.append(failed)
                continue
            self.report.summary.add(summary)
            self.report.shards += 1
        return self.report


def recipe(corpus, *overrides: str) -> Recipe:
    """The laptop's recipe for a corpus."""
    return load_recipe(NANO, [f"corpus={corpus}", *overrides])


def run(corpus, command="test", *overrides: str, said=None, **options) -> Run:
    """A run of the laptop's recipe, with its lines in `said`."""
    say = (lambda _: None) if said is None else said.append
    return Run(recipe(corpus, *overrides), command, say=say, **options)


def inspect(corpus: Corpus, *overrides: str, retry: bool = False) -> None:
    """Measures every picture of a corpus that was not yet, without Ray."""
    made = run(corpus.uri, "inspect", *overrides, dry_run=True)
    job = made.stage_job("inspect", retry=retry)
    for shard in corpus.shards():
        state = job.open(shard)
        for outcome in made.stages["inspect"].process(state.rows()):
            state.accept(outcome)
        state.commit()


def table(corpus: Corpus, name: str, config_hash: str) -> list[dict]:
    """All rows of a table, by shard and row."""
    found = Table(corpus.store, name, config_hash)
    return [row for shard in found.shards() for row in found.read(shard).to_pylist()]


def write_captions(corpus: Corpus, config_hash: str, variant: str, captions: dict) -> None:
    """A caption table as the stage would write it: id -> caption, or None for a failed one."""
    target = Table(corpus.store, f"caption.{variant}", config_hash)
    for shard in corpus.shards():
        rows = []
        for record in corpus.records.read(shard, ["shard", "row", "id"]).to_pylist():
            if record["id"] not in captions:
                continue
            text = captions[record["id"]]
            values = {"caption": text, "source": "synthesized", "prompt": variant, "seed": 1}
            rows.append({**record, **(values if text else {"error": "caption_empty"})})
        if rows:
            target.append(shard, pa.Table.from_pylist(rows, table_schema(CAPTION_SCHEMA)), {})
