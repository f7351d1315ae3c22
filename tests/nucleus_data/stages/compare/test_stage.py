import pytest
from PIL import ImageFilter

from nucleus_data.errors import RequestError
from nucleus_data.line.steps import without_missing
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.stages.compare import ranking
from nucleus_data.views.explain import explain, explain_lines
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.copied import detailed, encoded
from tests.support.ingested import tree

ONE, OTHER = detailed(3), detailed(5, 400, 400)
COPIES = ("good.jpg", "again.jpg")
SIGNALS = "select.rules={small: 'least(width, height) < 8'}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two pictures with copies in three shards, and one without."""
    corpus = small_corpus(tmp_path_factory.mktemp("copies") / "c", shards=0)
    good = encoded(ONE, "JPEG", quality=92)
    large = ONE.resize((960, 720)).filter(ImageFilter.GaussianBlur(1))
    write_shard(corpus, 0, {"large.png": encoded(large), "alone.png": curated.picture(9)}, {})
    write_shard(corpus, 1, {"good.jpg": good, "again.jpg": good, "o1.png": encoded(OTHER)}, {})
    small = encoded(ONE.resize((240, 180)))
    write_shard(corpus, 2, {"small.png": small, "o2.png": encoded(OTHER)}, {})
    curated.run(corpus.uri, "inspect").do("inspect", "dedup")
    return corpus


@pytest.fixture
def corpus(made, tmp_path):
    made.store.fs.copy(made.uri, str(tmp_path / "c"), recursive=True)
    return small_corpus(tmp_path / "c", shards=0)


def table_of(corpus, run, name):
    keys = {
        (row["shard"], row["row"]): row["key"]
        for row in curated.table(corpus, "records", run.tables["records"])
    }
    return {
        keys[row["shard"], row["row"]]: row for row in curated.table(corpus, name, run.tables[name])
    }


def compared(corpus, *overrides, **options):
    run = curated.run(corpus.uri, "curate", SIGNALS, *overrides, **options)
    run.do("dedup", "compare")
    return run


@pytest.mark.slow
def test_records_with_a_copy_are_ranked_and_the_rest_have_no_row(corpus):
    said = []
    run = compared(corpus, said=said)
    ranks = table_of(corpus, run, "compare")
    assert ranks.keys() == {*COPIES, "large.png", "small.png", "o1.png", "o2.png"}
    assert [ranks[key]["copy_rank"] for key in (*COPIES, "o1.png", "o2.png")] == [0] * 4
    assert {ranks[key]["copy_rank"] for key in ("large.png", "small.png")} == {1, 2}
    assert "enlarged" in ranks["large.png"]["copy_faults"]
    assert "smaller" in ranks["small.png"]["copy_faults"]
    assert ranks["large.png"]["copy_best"] in (ranks["good.jpg"]["id"], ranks["again.jpg"]["id"])
    assert "6 records are copies of 2 pictures; 3 different files were compared" in said[-1]
    story = list(explain_lines(explain(corpus, "large.png")))
    assert any("copy_faults" in line and "enlarged" in line for line in story)


@pytest.mark.slow
def test_select_keeps_the_best_by_rank_and_without_ranks_as_before(corpus):
    said = []
    run = curated.run(corpus.uri, "select", SIGNALS, said=said)
    run.do("dedup", "select")
    assert any("the copies were not compared" in line for line in said)
    before = run.tables["selection"]
    off = curated.run(corpus.uri, "select", SIGNALS, "compare.members=0", said=[])
    off.do("dedup", "select")
    assert off.tables["selection"] == before
    run = compared(corpus)
    run.do("select")
    assert run.tables["selection"] != before
    rows = table_of(corpus, run, "selection")
    kept = {key for key, row in rows.items() if row["state"] == "kept"}
    assert kept & {"good.jpg", "again.jpg"}
    assert not kept & {"large.png", "small.png"}
    assert "alone.png" in kept
    assert {row["state"] for row in rows.values()} == {"kept", "duplicate"}


@pytest.mark.slow
def test_an_order_of_ones_own_may_read_the_rank(corpus):
    mine = "select.prefer=[copy_rank desc, width * height desc]"
    run = curated.run(corpus.uri, "select", SIGNALS, mine)
    run.do("dedup")
    with pytest.raises(RequestError, match=r"reads copy_rank.*run: nucleus compare"):
        run.do("select")
    run.do("compare", "select")
    ranks, rows = (table_of(corpus, run, name) for name in ("compare", "selection"))
    (last,) = (key for key, row in ranks.items() if row["copy_rank"] == 2)
    assert rows[last]["state"] == "kept"


@pytest.mark.slow
def test_rules_cannot_read_the_rank(corpus):
    run = curated.run(corpus.uri, "select", "select.rules={r: 'copy_rank > 0'}")
    run.do("dedup", "compare")
    with pytest.raises(RequestError, match="copy_rank"):
        run.do("select")


class Backwards(InlineLoop):
    def arranged(self, items):
        return reversed(list(items))


class Killed(InlineLoop):
    """Ends before the last item of each phase."""

    def arranged(self, items):
        if not self.report.stage.endswith("copies"):
            yield from items
            return
        yield from list(items)[:-1]
        raise KeyboardInterrupt


@pytest.mark.slow
def test_the_table_is_the_same_in_any_order_and_after_a_kill(corpus, made, tmp_path):
    run = compared(corpus)
    name = f"tables/compare/{run.tables['compare']}"
    expected = tree(corpus.store.path(name))
    assert not any("_work" in path for path in expected)
    # The same again does nothing; the other way round, the same bytes.
    compared(corpus)
    assert tree(corpus.store.path(name)) == expected
    by_workers = "dedup.partition_records=1"
    for loops, more in (
        ([Backwards], []),
        ([Killed, InlineLoop], []),
        ([Backwards], [by_workers]),
        ([Killed, InlineLoop], [by_workers]),
    ):
        corpus.store.fs.rm(corpus.store.path(name), recursive=True)
        for loop in loops:
            try:
                compared(corpus, *more, loop=loop)
            except KeyboardInterrupt:
                assert corpus.store.list(f"{name}/_work")
        assert tree(corpus.store.path(name)) == expected


def test_equal_files_are_never_decoded(tmp_path, monkeypatch):
    corpus = small_corpus(tmp_path / "c", shards=0)
    good = encoded(ONE, "JPEG")
    write_shard(corpus, 0, {f"{i}.jpg": good for i in range(3)}, {})
    run = curated.run(corpus.uri, "curate")
    run.do("inspect", "dedup")
    monkeypatch.setattr(ranking, "view", None)
    monkeypatch.setattr(ranking, "read_images", None)
    run.do("compare")
    assert {row["copy_rank"] for row in table_of(corpus, run, "compare").values()} == {0}


@pytest.mark.slow
def test_a_picture_that_can_no_longer_be_decoded_comes_last(corpus):
    run = compared(corpus, "compare.max_pixels=200000")
    ranks = table_of(corpus, run, "compare")
    assert ranks["large.png"]["error"] == "too_many_pixels"
    assert ranks["large.png"]["copy_rank"] == 9  # after 8 that are compared, and what was not
    assert ranks["small.png"]["copy_rank"] == 1
    assert ranks["good.jpg"]["copy_rank"] == 0
    run.do("select")
    assert table_of(corpus, run, "selection")["large.png"]["state"] == "duplicate"


def test_no_pairs_is_a_table_without_rows(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    write_shard(corpus, 0, {"a.png": curated.picture(1), "b.png": curated.picture(2)}, {})
    said = []
    run = curated.run(corpus.uri, "curate", said=said)
    run.do("inspect", "dedup", "compare", "select")
    assert any("0 records are copies of 0 pictures" in line for line in said)


@pytest.mark.slow
def test_members_0_leaves_the_stage_out(corpus):
    run = curated.run(corpus.uri, "curate", "compare.members=0")
    assert without_missing(run.stages, ["dedup", "compare", "select"]) == ["dedup", "select"]
    with pytest.raises(RequestError, match=r"compare\.members is 0"):
        run.do("dedup", "compare")


@pytest.mark.slow
def test_a_recipe_with_few_signals_is_compared_too(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    soft = ONE.filter(ImageFilter.GaussianBlur(1.5))
    write_shard(corpus, 0, {"a.png": encoded(ONE), "b.png": encoded(soft)}, {})
    few = "inspect.signals=[file, hash]"
    order = "select.prefer=[copy_rank, width * height desc]"
    run = curated.run(corpus.uri, "curate", few, order, SIGNALS)
    run.do("inspect", "dedup", "compare", "select")
    assert table_of(corpus, run, "selection")["b.png"]["state"] == "duplicate"


@pytest.mark.slow
def test_a_dry_run_counts(corpus):
    said = []
    run = curated.run(corpus.uri, "compare", dry_run=True, said=said)
    run.do("compare")
    assert said == ["compare: the copies of 4 pairs"]
