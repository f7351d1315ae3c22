"""What is asked some image shards at a time gives the page that asking all at once gives."""

import json
import pickle
import statistics
from collections import Counter

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.pages import queries, survivors, write_report
from nucleus_data.pages import tables as module
from nucleus_data.pages.clusters import clusters
from nucleus_data.pages.pairs import _median, by_distance
from nucleus_data.pages.tables import Piece, Tables, piece_of
from nucleus_data.stages.caption.checks.on_tables import on_tables
from tests.nucleus_data.pages.test_checked import PLAN
from tests.nucleus_data.pages.test_checked import write as write_checked
from tests.support.dealt import dealt
from tests.support.reported import NOON, SET


class HereWorkers:
    """Asks as workers do, of a piece after the other, in this process."""

    folder = "runs/first/_asked"

    def __init__(self, corpus):
        self.corpus, self.asked = corpus, {}

    def ask(self, tables, question, arguments, count, *, bare=False):
        self.asked[question.__name__] = count
        question, arguments = pickle.loads(pickle.dumps((question, arguments)))  # as Ray does
        for number in range(count):
            corpus = Corpus(self.corpus.uri)
            if bare:
                piece = Piece(corpus, tables.hashes, {}, {}, number, self.folder)
            else:
                piece = piece_of(corpus, tables.hashes, self.folder, number)
            yield json.loads(json.dumps(question(piece, *arguments)))


@pytest.fixture
def several(whole, tmp_path, monkeypatch):
    """The whole corpus in three shards, of which each is a piece."""
    monkeypatch.setattr(module, "SHARDS_HERE", 1)
    monkeypatch.setattr(module, "SHARDS_A_PIECE", 1)
    monkeypatch.setattr(survivors, "PIECES_A_READER", 1)
    write_checked(whole)
    whole.corpus.store.put("runs/first/plan.json", json.dumps(PLAN).encode())
    return dealt(whole, tmp_path / "dealt", 3)


def page(made, workers):
    conditions = on_tables(["short", "checked"])
    write_report(
        made.corpus,
        "first",
        made.tables,
        training_set=SET,
        thumbnails=2,
        made_at=NOON,
        conditions=conditions,
        workers=workers,
    )
    return made.corpus.store.read("runs/first/report.html").decode()


@pytest.mark.slow
def test_the_page_is_the_same_however_many_shards_are_asked_at_a_time(several):
    workers = HereWorkers(several.corpus)
    assert page(several, workers) == page(several, None)
    assert {"_ledger", "_reasons", "_examples", "_limits", "_histograms"} <= {*workers.asked}
    assert set(workers.asked.values()) == {3}


@pytest.mark.slow
def test_survivors_of_any_shard_are_found(several):
    # 5 and 6 were dropped for 0, of another shard; 7 now for what is not there, 4 for elsewhere.
    selection = several.corpus.at("selection", several.tables["selection"])
    rows = [dict(r) for n in range(3) for r in selection.read(n).to_pylist()]
    for number, lost in ((7, "f" * 32), (4, "old:" + several.ids[0]), (3, several.ids[0])):
        mine = next(row for row in rows if row["row"] == number)
        mine |= {"state": "duplicate", "duplicate_of": lost, "reasons": ["duplicate"]}
    several.tables["selection"] = "f" * 16
    other = several.corpus.at("selection", "f" * 16)
    schema = selection.read(0).schema
    for shard in range(3):
        mine = [row for row in rows if row["shard"] == shard]
        other.append(shard, pa.Table.from_pylist(mine, schema), {})
    here = Tables(several.corpus, several.tables)
    there = Tables(several.corpus, several.tables, HereWorkers(several.corpus))
    assert there.pieces == 3
    assert queries.ledger(there) == queries.ledger(here)
    assert queries.ledger(there).without_survivor == 1
    assert clusters(there, 2, 2) == clusters(here, 2, 2)
    total, (first, second) = clusters(there, 2, 2)
    assert (total, first.size, second.size) == (3, 3, 1)
    assert not several.corpus.store.list("runs/first/_asked/links")


def test_of_a_few_shards_no_other_part_is_opened(several):
    tables = Tables(several.corpus, several.tables)
    part = f"{several.corpus.records.folder}/000001-0.parquet"
    several.corpus.store.put(part, b"damaged")
    assert [*queries.records(tables, [(0, 0)])] == [several.ids[0]]


def test_pairs_by_distance_are_the_same(several):
    here = Tables(several.corpus, several.tables)
    there = Tables(several.corpus, several.tables, HereWorkers(several.corpus))
    (one, other), alike = by_distance(here, 2), by_distance(there, 2)
    assert (one.name, one.count, one.median256) == ("equal files", 1, 0.0)
    assert (other.name, other.count, other.median256) == ("3", 1, 21.0)
    assert [about(found) for found in alike] == [about(one), about(other)]


def about(found):
    pairs = [(p.one, p.other, p.other_id, p.distance256) for p in found.pairs]
    return found.name, found.count, found.median256, pairs


@pytest.mark.parametrize("values", [[3], [3, 8], [1, 1, 5], [2, 2, 3, 9], [4] * 7 + [256] * 7])
def test_the_median_of_counts_is_that_of_the_values(values):
    assert _median(Counter(values)) == statistics.median(values)
