import pyarrow as pa

from nucleus_data.corpus.tables import Table
from nucleus_data.stages.select.compare import Comparison, compare_shard, content_of
from nucleus_data.stages.select.compare import compare as compare_tables
from nucleus_data.stages.select.curriculum import FIELD
from nucleus_data.world.corpora import small_corpus
from tests.support.selecting import decided, reasons, rules


def test_a_comparison_comes_back_as_it_was():
    one = decided(0, "kept", "kept", ("rejected", ["a"], {"tier": "A2", "flags": ["f"]}))
    other = decided(0, ("rejected", ["a"]), ("kept", [], {"tier": "A1"}), "kept")
    found = compare_shard(0, one, other, None, 3)
    assert found.examples
    assert found.tiers
    back = Comparison.decode(found.encode())
    assert back == found
    back.add(found, 3)
    assert back.records == 6


def test_buckets_are_counted_by_number_where_a_selection_has_some():
    before = decided(0, *("kept", "kept", "kept", ("rejected", ["a"])))
    names = pa.array(["B10", "B2", None, "B2"])
    after = decided(0, "kept", ("rejected", ["a"]), "kept", "kept").append_column(FIELD, names)
    zeros = {"kept_before": 0, "kept_after": 0, "leaving": 0, "entering": 0}
    assert content_of(compare_shard(0, before, after, None))["buckets"] == [
        {**zeros, "bucket": "B2", "kept_after": 1, "entering": 1},
        {**zeros, "bucket": "B10", "kept_after": 1},
        {**zeros, "bucket": "", "kept_before": 3, "kept_after": 1, "leaving": 1},
    ]
    found = compare_shard(0, after, after, None)
    assert Comparison.decode(found.encode()) == found
    assert content_of(compare_shard(0, before, before, None))["buckets"] == []


def test_a_record_counts_in_each_of_its_reasons_and_once_in_its_state():
    before = decided(0, "kept", ("rejected", ["a", "b"]), ("rejected", ["a"]))
    after = decided(0, ("rejected", ["a", "b"]), "kept", ("failed", ["a"]))
    content = content_of(compare_shard(0, before, after, None))
    assert content["leaving"]["records"] == content["entering"]["records"] == 1
    assert reasons(content, "leaving") == {("rejected", "a"): 1, ("rejected", "b"): 1}
    assert reasons(content, "entering") == {("rejected", "a"): 1, ("rejected", "b"): 1}
    # A failure's code is no rule, whatever its name.
    assert rules(content) == {"a": (1, 2), "b": (1, 1)}
    assert content["changed"] == 3


def test_flags_and_survivors():
    copy = ("duplicate", ["duplicate"])
    before = decided(0, ("kept", [], {"flags": ["f"]}), (*copy, {"duplicate_of": "x"}), (*copy, {}))
    after = decided(0, ("kept", [], {"flags": ["g"]}), (*copy, {"duplicate_of": "y"}), (*copy, {}))
    content = content_of(compare_shard(0, before, after, None))
    assert (content["changed"], content["otherwise"]) == (0, 1)
    assert {r["rule"]: (r["newly"], r["no_longer"]) for r in content["flags"]} == {
        "f": (0, 1),
        "g": (1, 0),
    }


def test_a_record_that_only_one_selection_has_is_absent_in_the_other(tmp_path):
    corpus = small_corpus(tmp_path, shards=2)
    one, other = (Table(corpus.store, "selection", name) for name in ("one", "other"))
    one.append(0, decided(0, "kept", "kept", ("rejected", ["a"])), {})
    other.append(0, decided(0, ("rejected", ["a"]), "kept", "kept", start=1), {})
    other.append(1, decided(1, "kept"), {})
    found = compare_tables(corpus, one, other, 5)
    assert found.states == {
        ("kept", "absent"): 1,
        ("kept", "rejected"): 1,
        ("rejected", "kept"): 1,
        ("absent", "kept"): 2,
    }
    assert {p[1:3] for p in found.examples["entering", "absent", ""]} == {(0, 3), (1, 0)}
    assert found.records == 5


def test_examples_are_the_first_by_a_keyed_hash_whatever_the_shards(tmp_path):
    corpus = small_corpus(tmp_path, shards=3)
    one, other = (Table(corpus.store, "selection", name) for name in ("one", "other"))
    for shard in range(3):
        one.append(shard, decided(shard, *["kept"] * 40), {})
        other.append(shard, decided(shard, *[("rejected", ["a"])] * 40), {})
    found = compare_tables(corpus, one, other, 4).examples["leaving", "rejected", "a"]
    everything = compare_tables(corpus, one, other, 120).examples["leaving", "rejected", "a"]
    assert found == sorted(everything, key=lambda place: place[:3])[:4]
    assert len({place[1:3] for place in everything}) == 120
    assert all(line["reasons"] == ["a"] and line["row"] == row for _, _, row, line in everything)
    assert compare_tables(corpus, one, other).examples == {}
