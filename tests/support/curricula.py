"""Corpora with tiers and sizes alone, written without a picture, and their curriculum buckets."""

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.hashing import record_id
from nucleus_data.signals.file import group
from nucleus_data.views.curriculum import fit_curriculum
from nucleus_data.world.corpora import RECORDS, write_part
from tests.support import curated

# A record's score is its caption: no head is at hand that could give it one.
SCORED = (
    "select.rules={bad: width < 20}",
    "select.drop_duplicates=false",
    "select.tiers.score=TRY_CAST(source.caption AS DOUBLE)",
)


def people(count, seed=0):
    """Key -> (score, width), as a corpus has them: few of the best, sizes of all kinds."""
    chance = np.random.default_rng(seed)
    scores = 4.6 + chance.gamma(3.0, 0.4, count)
    widths = np.round(2 ** chance.normal(9.5, 0.8, count)).astype(int)
    pairs = zip(scores.round(3).tolist(), widths.tolist(), strict=True)
    return {f"{seed}/{i}": pair for i, pair in enumerate(pairs)}


def placed_corpus(folder, *shards):
    """A corpus of records with a score and a width: a dictionary of `people` a shard.

    A score of None is none; a width of None: the record is not measured yet.
    """
    corpus = Corpus(str(folder), create=True)
    pins = curated.recipe(corpus.uri).pins().tables
    measured = Table(corpus.store, "inspect.file", pins["inspect.file"])
    for shard, records in enumerate(shards):
        rows, files = [], []
        for row, (key, (score, width)) in enumerate(records.items()):
            name = {"shard": shard, "row": row, "id": record_id("test", key)}
            caption = None if score is None else str(score)
            plain = {"source": "test", "key": key, "file": f"{row}.png", "retryable": False}
            place = {"offset": 512 * row, "size": 10, "sha256": "0" * 64}
            rows.append({**name, **plain, **place, "source.caption": caption})
            if width is not None:
                files.append({**name, "width": width, "height": 100, "format": "png"})
        write_part(corpus.records, shard, pa.Table.from_pylist(rows, RECORDS), {"tar_size": "0"})
        corpus.store.put(f"images/{shard:06d}.tar", b"")
        write_part(measured, shard, pa.Table.from_pylist(files, table_schema(group.schema)))
    return corpus


def fit(corpus, file, *overrides, scored=SCORED):
    """Selects without buckets, and fits; returns what was fitted, and the overrides with it."""
    curated.run(corpus.uri, "select", *scored, *overrides).select()
    made = curated.run(corpus.uri, "fit-curriculum", *scored, *overrides)
    content = fit_curriculum(made.run, made.recipe, file)
    return content, (*scored, f"select.curriculum.fitted={file}", *overrides)


def buckets(corpus, *overrides, **options):
    """Selects; returns the run and key -> row of the selection."""
    made = curated.run(corpus.uri, "select", *overrides, **options)
    made.select()
    keys = {r["id"]: r["key"] for r in corpus.table("records").to_arrow_table().to_pylist()}
    rows = curated.table(corpus, "selection", made.tables["selection"])
    return made, {keys[row["id"]]: row for row in rows}
