import io

import pytest
from PIL import Image

from nucleus_data.errors import RequestError
from nucleus_data.pages.queries import Tables, ledger
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.reported import EVIL_NAME

RULES = "select.rules={small: 'least(width, height) < 32'}"


def selected(corpus, *overrides):
    run = curated.run(corpus.uri, "select", RULES, *overrides)
    run.do("dedup")
    run.select()
    keys = {
        (record["shard"], record["row"]): record["key"]
        for record in curated.table(corpus, "records", run.tables["records"])
    }
    rows = curated.table(corpus, "selection", run.tables["selection"])
    return run, {keys[row["shard"], row["row"]]: row for row in rows}


@pytest.mark.slow
def test_what_another_corpus_has_is_a_duplicate_however_good_it_is(corpus, release):
    _, alone = selected(corpus)
    assert {key for key, row in alone.items() if row["state"] == "kept"} >= {
        *("large1.png", "three.png", "two.jpg")
    }
    against = f"dedup.against={{old-release: '{release.uri}'}}"
    run, rows = selected(corpus, against)
    ids = {
        record["key"]: f"old-release:{record['id']}"
        for record in curated.table(release, "records", run.tables["records"])
    }
    found = {key: (row["state"], row["reasons"], row["duplicate_of"]) for key, row in rows.items()}
    old = ["duplicate:old-release"]
    assert found["large1.png"] == ("duplicate", old, ids["a.png"])
    assert found["one.png"] == ("duplicate", old, ids["a.png"])
    assert found["two.jpg"] == ("duplicate", old, ids["b.jpg"])
    assert found["three.png"][0] == "kept"
    assert sorted(found[key][0] for key in (EVIL_NAME, "copy.png")) == ["duplicate", "kept"]
    assert ledger(Tables(corpus, run.tables)).without_survivor == 0


@pytest.mark.slow
def test_more_records_in_the_other_corpus_make_another_table(corpus, release):
    against = f"dedup.against={{old: '{release.uri}'}}"
    run, rows = selected(corpus, against)
    assert rows["three.png"]["state"] == "kept"
    write_shard(release, 1, {"c.png": picture(3, (66, 44))})
    curated.inspect(release)
    again, rows = selected(corpus, against)
    assert again.tables["dedup"] != run.tables["dedup"]
    assert rows["three.png"]["state"] == "duplicate"


def pinned(corpus, *overrides):
    run = curated.run(corpus.uri, "dedup", *overrides)
    run.pin("dedup")
    return run


def test_how_the_search_is_done_changes_no_hash(corpus):
    hashes = [
        pinned(corpus, *overrides).tables["dedup"]
        for overrides in ([], ["dedup.partition_records=7"], ["dedup.distance=3"])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.slow
def test_files_give_the_same_selection(corpus, release):
    against = f"dedup.against={{old: '{release.uri}'}}"
    run, _ = selected(corpus, against)
    table = curated.table(corpus, "dedup", run.tables["dedup"])
    corpus.store.fs.rm(corpus.store.path(f"tables/dedup/{run.tables['dedup']}"), recursive=True)
    said = []
    files = curated.run(corpus.uri, "dedup", against, "dedup.partition_records=2", said=said)
    files.do("dedup")
    assert files.tables["dedup"] == run.tables["dedup"]
    assert curated.table(corpus, "dedup", files.tables["dedup"]) == table
    assert said[-1].startswith("dedup: 6 records and 2 of other corpora, ")


@pytest.mark.slow
def test_canonical_hashes_find_what_is_mirrored_turned_or_framed(tmp_path):
    image = Image.open(io.BytesIO(picture(1, (240, 160))))
    framed = Image.new("RGB", (300, 220), "black")
    framed.paste(image, (30, 30))
    copies = {
        "mirrored.png": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned.png": image.transpose(Image.Transpose.ROTATE_90),
        "framed.png": framed,
    }
    corpus = small_corpus(tmp_path / "c", shards=0)
    files = {"original.png": picture(1, (240, 160)), "other.png": picture(2, (240, 160))}
    for name, copy in copies.items():
        stream = io.BytesIO()
        copy.save(stream, "PNG")
        files[name] = stream.getvalue()
    write_shard(corpus, 0, files)
    signals = ("inspect.signals=[file, hash, canonical]", "select.prefer=[width * height desc]")
    curated.inspect(corpus, *signals)
    _, rows = selected(corpus, *signals)
    assert {row["state"] for row in rows.values()} == {"kept"}
    _, rows = selected(corpus, *signals, "dedup.hashes=canonical")
    kept = sorted(key for key, row in rows.items() if row["state"] == "kept")
    assert kept == ["framed.png", "other.png"]  # the most pixels stay
    with pytest.raises(RequestError, match="needs the signal groups 'canonical'; add them to"):
        curated.run(corpus.uri, "dedup", "dedup.hashes=canonical").do("dedup")


def test_near_hashes_are_told_as_what_they_are(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    write_shard(corpus, 0, {"a.png": picture(1), "b.png": picture(2)})
    curated.inspect(corpus)
    said = []
    run = curated.run(corpus.uri, "dedup", said=said)
    run.do("dedup")
    assert said[-1].startswith(
        "dedup: 2 records, 0 pairs confirmed (0 of them equal files); compared more closely, as "
        "their 64-bit hashes are within distance 4: 0 pairs ("
    )
    table = corpus.table("dedup")  # no pair was found: an empty table
    assert table.count("*").fetchall() == [(0,)]
    assert {"id", "other_id", "distance"} < set(table.columns)
