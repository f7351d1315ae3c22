"""Records of which some were downloaded again, into a newer shard."""

import pyarrow as pa
import pytest

from nucleus_data.errors import CorpusError
from nucleus_data.world.corpora import small_corpus

KEYS = ["shard", "row", "id"]


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "c", shards=2, images=3)


def supersede(corpus, by, *places):
    tables = [corpus.records.read(shard, KEYS).slice(row, 1) for shard, row in places]
    corpus.records.supersede(pa.concat_tables(tables), by)


def seen(corpus):
    """(shard, row) of all records, by each of the three ways of reading them."""
    read = [
        (row["shard"], row["row"])
        for shard in corpus.shards()
        for row in corpus.records.read(shard).to_pylist()
    ]
    by_sql = corpus.connection().sql(f"SELECT shard, row FROM {corpus.records.sql()} ORDER BY ALL")
    covered = [(n, row) for n in corpus.shards() for row in corpus.records.covered(n).tolist()]
    assert read == by_sql.fetchall() == covered
    return read


def test_a_record_is_superseded_when_the_newer_shard_is_committed_and_not_before(corpus):
    every = [(shard, row) for shard in range(2) for row in range(3)]
    places = [(0, 1), (1, 2)]
    assert seen(corpus) == every
    rows = {place: corpus.records.read(place[0]).slice(place[1], 1).to_pylist() for place in places}
    supersede(corpus, 5, *places)
    assert seen(corpus) == every
    assert corpus.records.superseded(0).tolist() == []
    # Ids are read before they are superseded.
    new = [{**rows[p][0], "shard": 5, "row": n} for n, p in enumerate(places)]
    corpus.records.append(5, pa.Table.from_pylist(new, corpus.records.read(0).schema), {})
    assert seen(corpus) == [p for p in every if p not in places] + [(5, 0), (5, 1)]
    assert corpus.records.superseded(0).tolist() == [1]
    assert corpus.records.read(1, ["id"]).column_names == ["id"]
    assert corpus.records.read(1, ["id"]).num_rows == 2


def test_two_shards_never_stand_for_one_record(corpus):
    supersede(corpus, 5, (0, 1))
    supersede(corpus, 5, (0, 1))  # the same again is no conflict
    with pytest.raises(CorpusError, match="another shard already replaces"):
        supersede(corpus, 6, (0, 1), (0, 2))
    assert len(seen(corpus)) == 6  # neither shard is committed
