"""New captions and new scores lie beside the tars: no tar is written again."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.sets.layout import SetFolder
from nucleus_data.world.corpora import write_shard
from nucleus_model.data.loader import TrainingSet
from tests.support import curated
from tests.support.captioned_sets import COUNT, SETTINGS, captioned_sets
from tests.support.curated import picture
from tests.support.sharded import CARD, captions, made_files

NAMES = "shard.captions=[source, short]"


@pytest.fixture
def corpus(tmp_path):
    return captioned_sets(tmp_path)[0]


def shard(corpus, *overrides):
    run = curated.run(corpus.uri, "shard", *SETTINGS, *overrides)
    run.do("shard")
    return run, corpus.store.path(run.training_set)


def stamps(folder):
    """Relative path -> size and time of every file below a folder, but for the card."""
    found = {name: path.stat() for name, path in made_files(folder).items() if name not in CARD}
    return {name: (about.st_size, about.st_mtime_ns) for name, about in found.items()}


def fresh(before, after):
    """Files that were written since, and the sum of their bytes; none changed and none is gone."""
    assert {name: after.get(name) for name in before} == before
    names = set(after) - set(before)
    return names, sum(after[name][0] for name in names)


def check_recaptioned(corpus, first, folder, before, *overrides):
    """Other captions, then new scores, are written; no byte of a tar or an index is."""
    tars = sum(size for name, (size, _) in before.items() if name.endswith(".tar"))
    again, there = shard(corpus, *overrides)
    assert there == folder
    names, size = fresh(before, stamps(folder))
    edition = f"captions/{again.pins.edition}/"
    assert names
    assert all(name.startswith(edition) for name in names)
    assert again.pins.edition != first.pins.edition
    assert size < tars / 4
    # Scores of a head.
    before = stamps(folder)
    head = write_scores(corpus, again)
    scored, there = shard(corpus, *overrides)
    assert there == folder
    names, size = fresh(before, stamps(folder))
    assert names
    assert all(name.startswith(f"columns/{scored.pins.columns}/") for name in names)
    assert size < tars / 4
    # The trainer takes either edition, and must be told which.
    sets = [TrainingSet(folder, edition=run.pins.edition) for run in (first, again)]
    assert [s.id for s in sets[0].samples] == [s.id for s in sets[1].samples]
    assert [s.captions for s in sets[0].samples] != [s.captions for s in sets[1].samples]
    made = SetFolder(corpus.store, first.training_set)
    for tar in made.manifest():
        values = made.columns(scored.pins.columns).values(tar.path)
        index = made.index(tar.path)
        assert values.column("id").equals(index.column("id"))
        wanted = [row["shard"] + row["row"] / 1000 for row in index.to_pylist()]
        assert np.allclose(values.column(head).to_numpy(), wanted)


def write_scores(corpus, run):
    """A head's scores of every record, in the recipe's table; returns a column's name."""
    schema = run.pins.specs["embed.heads"].schema
    table = Table(corpus.store, "embed.heads", run.tables["embed.heads"])
    for number in corpus.shards():
        keys = corpus.records.read(number, ["shard", "row", "id"])
        value = keys["shard"].to_numpy() + keys["row"].to_numpy() / 1000
        for field in schema:
            keys = keys.append_column(field, pa.array(value).cast(field.type))
        table.append(number, keys.append_column("error", pa.nulls(len(value), pa.string())), {})
    return schema.names[0]


@pytest.mark.slow
def test_new_captions_and_scores_write_no_tar(corpus):
    first, folder = shard(corpus, NAMES)
    before = stamps(folder)
    tars = {n for n in before if n.endswith((".tar", ".index.parquet"))}
    assert len(tars) >= 2
    check_recaptioned(corpus, first, folder, before, "shard.captions=[short@01234567]")


@pytest.mark.slow
def test_a_set_of_2000_is_recaptioned_without_a_tar(tmp_path):
    corpus = Corpus(str(tmp_path / "c"), create=True)
    for number in range(4):
        images = {
            f"{500 * number + i}.jpg": picture(500 * number + i, (80, 64), "JPEG")
            for i in range(500)
        }
        write_shard(corpus, number, images, {key: f"web {key}" for key in images})
    curated.inspect(corpus)
    run = curated.run(corpus.uri, "curate", *SETTINGS)
    run.do("dedup", "select")
    texts = {
        row["id"]: f"short {row['key']}"
        for row in curated.table(corpus, "records", run.tables["records"])
    }
    curated.write_captions(corpus, run.tables["caption.short"], "short", texts)
    first, folder = shard(corpus, "shard.captions=[source]")
    assert sum(tar.samples for tar in SetFolder(corpus.store, first.training_set).manifest()) > 1900
    check_recaptioned(corpus, first, folder, stamps(folder), "shard.captions=[source, short]")


@pytest.mark.slow
def test_the_own_caption_is_taken_where_preserve_is_true(corpus):
    plain, folder = shard(corpus, NAMES)
    rule = "caption.preserve=\"source.caption = 'web 5' OR width < 0\""
    some, there = shard(corpus, NAMES, rule)
    assert there == folder
    assert some.pins.edition != plain.pins.edition
    every, found = captions(folder, plain.pins.edition), captions(folder, some.pins.edition)
    assert {text["web"] for text in every.values()} == {f"web {n}" for n in range(COUNT)}
    kept = {ident for ident, text in found.items() if "web" in text}
    assert {every[ident]["web"] for ident in kept} == {"web 5"}
    # Nothing else changes; and a set without `source` asks nothing.
    assert {i: t.get("synthesized:short") for i, t in found.items()} == {
        i: t.get("synthesized:short") for i, t in every.items()
    }
    one = shard(corpus, "shard.captions=[short]")[0].pins.edition
    assert shard(corpus, "shard.captions=[short]", rule)[0].pins.edition == one


@pytest.mark.slow
def test_what_preserve_waits_for_is_not_taken(corpus):
    """Similarity is not measured: nobody knows whose caption fits, and none is taken."""
    run, folder = shard(corpus, NAMES, "caption.preserve=caption_cosine > 0.3")
    found = captions(folder, run.pins.edition)
    assert not any("web" in text for text in found.values())
    assert sum(not text for text in found.values()) == 1  # its other caption failed
    made = SetFolder(corpus.store, run.training_set)
    edition = made.edition(run.pins.edition)
    assert (edition.without, edition.samples, dict(edition.mix)) == (
        1,
        COUNT,
        {"synthesized:short": COUNT - 1},
    )
    assert not Path(folder, "captions", edition.hash, "_work").exists()
    assert not Path(folder, "_plan").exists()
    assert not Path(folder, "_done").exists()
