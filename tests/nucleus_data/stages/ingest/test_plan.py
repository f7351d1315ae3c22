from concurrent.futures import ThreadPoolExecutor

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claiming import Claiming
from nucleus_data.stages.ingest.claims import claim_numbers, read_claim
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import ingest_counted, put, rows, tiny, tree


def test_ingesting_again_adds_only_what_is_new(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i}.png": tiny(i) for i in range(5)})
    ingest_counted(corpus, source, images_per_shard=2)
    before = tree(tmp_path / "corpus")
    assert corpus.shards() == [0, 1, 2]
    plan, counts = ingest_counted(corpus, source, images_per_shard=2)
    assert (plan.found, plan.already, plan.new, plan.todo, counts) == (5, 5, 0, [], [])
    assert tree(tmp_path / "corpus") == before
    put(source, {"00.png": tiny(9), "3.txt": "too late"})
    plan, _ = ingest_counted(corpus, source, images_per_shard=2)
    assert (plan.found, plan.already, plan.new, plan.todo) == (6, 5, 1, [3])
    assert [row["key"] for row in rows(corpus)][-1] == "00.png"
    assert before.items() <= tree(tmp_path / "corpus").items()


@pytest.mark.slow
def test_limit_sample_and_dry_run(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i:03d}.png": tiny(i) for i in range(200)})
    wanted = IngestSettings(source=str(source), images_per_shard=50)
    plan = plan_ingest(corpus, wanted, dry_run=True)
    assert (plan.new, plan.new_shards, plan.todo) == (200, 4, [])
    assert claim_numbers(corpus.store) == []
    plan = plan_ingest(corpus, wanted, limit=3)
    assert read_claim(corpus, 0).rows["key"].to_pylist() == ["000.png", "001.png", "002.png"]
    plan = plan_ingest(corpus, wanted, sample=0.25)
    assert 25 <= plan.found <= 75
    again = plan_ingest(corpus, wanted, sample=0.25)
    assert (again.found, again.new) == (plan.found, 0)
    more = plan_ingest(corpus, wanted, sample=0.5, dry_run=True)
    assert more.already >= plan.found  # a larger sample holds the smaller one
    for wrong in ({"limit": 0}, {"sample": 0.0}, {"sample": 1.5}):
        with pytest.raises(RequestError, match="must be"):
            plan_ingest(corpus, wanted, **wrong)


@pytest.mark.slow
def test_a_killed_ingest_is_completed(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i}.png": tiny(i) for i in range(4)})
    wanted = IngestSettings(source=str(source), images_per_shard=2)
    assert plan_ingest(corpus, wanted).todo == [0, 1]
    build_shard(corpus, 1)
    plan = plan_ingest(corpus, wanted)
    assert (plan.new, plan.todo) == (0, [0])
    other = put(tmp_path / "other", {"x.png": tiny()})
    assert plan_ingest(corpus, IngestSettings(source=str(other))).todo == [2]


@pytest.mark.slow
def test_two_sources_of_one_name_do_not_hide_each_other(corpus, tmp_path):
    one = put(tmp_path / "x" / "images", {"a.png": tiny(1)})
    two = put(tmp_path / "y" / "images", {"a.png": tiny(2)})
    ingest_counted(corpus, one)
    with pytest.raises(
        RequestError, match=r"'images' is already used by .*/x/images.*ingest\.name"
    ):
        ingest_counted(corpus, two)
    plan, _ = ingest_counted(corpus, two, name="more images")
    assert plan.new == 1
    ids = [row["id"] for row in rows(corpus)]
    assert len(set(ids)) == 2
    plan, _ = ingest_counted(corpus, two, name="images")  # said by name: the same source, moved
    assert plan.new == 0


@pytest.mark.slow
def test_concurrent_claims_by_several_sources(corpus, tmp_path):
    sources = [put(tmp_path / f"s{n}", {f"{i}.png": tiny(i) for i in range(12)}) for n in range(3)]
    sources.append(sources[0])  # and one of them twice

    def claim(source):
        mine = Corpus(corpus.uri)
        return plan_ingest(mine, IngestSettings(source=str(source), images_per_shard=2))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(claim, sources))
    assert claim_numbers(corpus.store) == list(range(18))
    claims = [read_claim(corpus, number) for number in range(18)]
    ids = [i for claim in claims for i in claim.rows["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == 36
    assert all(len(set(claim.rows["source"].to_pylist())) == 1 for claim in claims)


def test_an_ingest_that_loses_a_number_to_its_own_source_looks_again(corpus, tmp_path, monkeypatch):
    source = put(tmp_path / "p", {f"{i}.png": tiny(i) for i in range(6)})
    real, raced = Claiming._known, []

    def known_then_race(claiming, seen):
        known = real(claiming, seen)
        if not raced:
            raced.append(True)
            plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=4), limit=4)
        return known

    monkeypatch.setattr(Claiming, "_known", known_then_race)
    plan = plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=2))
    claims = [read_claim(corpus, number) for number in claim_numbers(corpus.store)]
    keys = [key for claim in claims for key in claim.rows["key"].to_pylist()]
    assert sorted(keys) == [f"{i}.png" for i in range(6)]
    assert (plan.found, plan.already, plan.new) == (6, 4, 2)
