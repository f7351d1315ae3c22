import json
import shutil

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.stages.compare.preference import GROUPS
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.plan import SelectionPlan
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.stages.select.walking import JudgeTask
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.quick import quick
from tests.support.selecting import RULES, select


def test_the_copies_are_pairs(corpus):
    made = curated.run(corpus.uri, "dedup")
    made.do("dedup")
    pairs = curated.table(corpus, "dedup", made.tables["dedup"])
    assert len({pair[name] for pair in pairs for name in ("id", "other_id")}) == 4
    assert len([pair for pair in pairs if pair["exact"]]) == 1


def test_each_record_has_its_state_and_a_rejected_one_displaces_none(corpus):
    _, rows = select(corpus)
    # All four are copies. The largest is rejected, so the best of the others stays; of two equal
    # ones that with the smaller id.
    equal = sorted(("copy.jpg", "exact.jpg"), key=lambda key: record_id("test", key))
    assert {key: row["state"] for key, row in rows.items()} == {
        equal[0]: "kept",
        equal[1]: "duplicate",
        "largest.png": "rejected",
        "tiny.png": "rejected",
        "other.png": "kept",
        "broken.png": "failed",
        "third.jpg": "kept",
    }
    assert rows[equal[1]]["duplicate_of"] == record_id("test", equal[0])
    assert rows[equal[1]]["reasons"] == ["duplicate"]
    assert rows["largest.png"]["reasons"] == ["bad"]
    assert json.loads(rows["largest.png"]["values"]) == {"source.caption": "bad"}
    assert rows["tiny.png"]["reasons"] == ["small"]
    assert rows["broken.png"]["reasons"] == ["truncated"]
    assert [row["nulls"] for key, row in rows.items() if key == "third.jpg"] == [["bad"]]
    assert rows["other.png"]["nulls"] == []


@pytest.mark.slow
def test_the_order_of_preference_says_which_duplicate_stays(corpus):
    rules = "select.rules={small: 'width < 3'}"

    def kept(*overrides):
        _, rows = select(corpus, rules, *overrides)
        others = ("other.png", "third.jpg")
        return [k for k, row in rows.items() if row["state"] == "kept" and k not in others]

    assert kept() == ["largest.png"]
    assert kept("select.prefer=[width * height asc]") == ["tiny.png"]
    assert kept("select.prefer=[\"format = 'jpeg' desc\", width desc]")[0] in (
        "copy.jpg",
        "exact.jpg",
    )


@pytest.mark.slow
def test_the_sums_agree_with_what_was_published_and_kept_with_the_run(corpus):
    made, rows = select(corpus)
    content = published_selection(corpus.store, made.tables["selection"])
    states = {"kept": 3, "rejected": 2, "duplicate": 1, "failed": 1, "pending": 0}
    assert content["states"] == states
    assert content["records"] == sum(states.values()) == len(rows) == 7
    line = made.lines[-1]
    assert (line["stage"], line["rows"]) == ("select", 7)
    assert line["extra"]["kept"] == 3
    assert line["extra"]["reasons:truncated"] == line["extra"]["reasons:bad"] == 1
    assert line["extra"]["nulls:bad"] == 4


@pytest.mark.slow
def test_selecting_again_changes_no_byte(corpus, tmp_path):
    made, _ = select(corpus)
    before = {p: p.read_bytes() for p in (tmp_path / "c/tables").rglob("*") if p.is_file()}
    again, _ = select(corpus)
    after = {p: p.read_bytes() for p in (tmp_path / "c/tables").rglob("*") if p.is_file()}
    assert after == before
    assert again.tables["selection"] == made.tables["selection"]
    assert (again.lines[-1]["already"], again.lines[-1]["done"]) == (7, 0)


@pytest.mark.slow
def test_without_the_walk_duplicates_are_kept(corpus):
    made = curated.run(corpus.uri, "select", RULES, "select.drop_duplicates=false")
    states = made.select()  # needs no pairs
    assert states == {"kept": 4, "rejected": 2, "duplicate": 0, "failed": 1, "pending": 0}


@pytest.mark.slow
def test_what_was_not_measured_is_pending(corpus):
    write_shard(corpus, 2, {"new.png": picture(7), "newer.png": picture(8)})
    made, rows = select(corpus)
    assert published_selection(corpus.store, made.tables["selection"])["states"]["pending"] == 2
    assert rows["new.png"]["pending_on"] == sorted(f"inspect.{name}" for name in {*GROUPS, "hash"})


@pytest.mark.slow
def test_a_picture_that_failed_for_now_is_failed_until_it_is_measured(corpus):
    tables = curated.recipe(corpus.uri).pins().tables
    write_shard(corpus, 2, {"new.png": picture(7)})
    keys = ("shard", "row", "id")
    lost = corpus.records.read(2, keys).append_column("reason", [["killed_sigkill"]])
    Table(corpus.store, "inspect.file", tables["inspect.file"]).failed.append(2, lost, {})
    _, rows = select(corpus)
    new = rows["new.png"]
    assert (new["state"], new["reasons"], new["retryable"]) == ("failed", ["killed_sigkill"], True)
    curated.inspect(corpus)
    curated.inspect(corpus, retry=True)
    _, rows = select(corpus)
    assert rows["new.png"]["state"] == "kept"


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("broken", quick(["JudgeTask", "LedgerTask"], {"LedgerTask"}))
def test_a_selection_that_was_broken_off_goes_on_and_is_the_same(
    corpus, tmp_path, monkeypatch, broken
):
    shutil.copytree(tmp_path / "c", tmp_path / "other")
    whole, _ = select(corpus)
    monkeypatch.setattr("nucleus_data.stages.select.plan.SHARDS_A_TASK", 1)
    other = Corpus(str(tmp_path / "other"))
    with monkeypatch.context() as patch:
        kind = {"JudgeTask": JudgeTask, "LedgerTask": LedgerTask}[broken]
        run_one = kind.run

        def run(task, number):
            if number == 1:
                raise OSError("away")
            return run_one(task, number)

        patch.setattr(kind, "run", run)
        made, _ = select(other)
        assert made.failed_shards == 1
        assert not published_selection(other.store, made.tables["selection"])
    judged = []
    with monkeypatch.context() as patch:
        judge_all = SelectionPlan.judge
        patch.setattr(
            SelectionPlan, "judge", lambda plan, shards: judged.append(1) or judge_all(plan, shards)
        )
        made, _ = select(other)
    # Answers that are there are not asked for again: one group of two was judged, or none.
    assert len(judged) == {"JudgeTask": 1, "LedgerTask": 0}[broken]
    done = {"JudgeTask": (7, 0), "LedgerTask": (2, 5)}[broken]
    assert (made.lines[-1]["done"], made.lines[-1]["already"]) == done
    assert (made.lines[-1]["shards"], made.lines[-1]["extra"]) == (2, whole.lines[-1]["extra"])
    # However many shards a task decides about, the tables are the same.
    there, expected = (files(tmp_path / name / "tables") for name in ("other", "c"))
    walk = {path for path in {*there, *expected} if "_walk" in path.parts}
    assert {p: b for p, b in there.items() if p not in walk} == {
        p: b for p, b in expected.items() if p not in walk
    }
    assert len(walk & set(there)) == 5  # `members` and `kept` of both shards, `dropped` of one
    select(other)
    assert files(tmp_path / "other/tables") == there


@pytest.mark.slow
def test_the_selection_is_another_when_its_inputs_are(corpus):
    made, _ = select(corpus)
    first = made.tables["selection"]

    def found(*overrides):
        run = curated.run(corpus.uri, "look", RULES, *overrides, dry_run=True)
        try:
            run.use_selection()
        except RequestError:
            return False
        assert run.tables["selection"] == first
        return True

    assert found()
    assert found("resources.select={workers: 1, num_cpus: 0.5}", "report.thumbnails=3")
    assert found("ray.num_cpus=1", "shard.seed=3", "caption.seed=3")
    assert not found("select.rules.more=width > 9000")
    assert not found("select.rules.small=least(width, height) < 33")
    assert not found("select.prefer=[width desc]")
    assert not found("select.drop_duplicates=false")
    assert not found("dedup.distance=3")
    assert not found("inspect.max_pixels=1000000")
    write_shard(corpus, 2, {"new.png": picture(7)})
    with pytest.raises(RequestError, match="no selection for the current tables and rules"):
        curated.run(corpus.uri, "look", RULES, dry_run=True).use_selection()
    second, _ = select(corpus)
    curated.inspect(corpus)
    third, _ = select(corpus)
    assert len({first, second.tables["selection"], third.tables["selection"]}) == 3


def test_what_is_flagged_is_said(tmp_path):
    corpus = small_corpus(tmp_path / "c", shards=0)
    write_shard(corpus, 0, {"a.png": picture(1), "b.png": picture(2)})
    curated.inspect(corpus)
    said = []
    flag = "rules.png={where: \"format = 'png'\", action: flag}"
    run = curated.run(corpus.uri, "select", "select.rules={}", flag, said=said)
    run.do("dedup", "select")
    assert "  flagged png: 2" in said
