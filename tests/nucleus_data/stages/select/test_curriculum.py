import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.hashing import order_unit, record_id
from nucleus_data.pages import content as content_of
from nucleus_data.pages import queries
from nucleus_data.stages.select.fit import load_fit
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.views.status import status
from nucleus_data.views.status_lines import status_lines
from tests.support import curated
from tests.support.curricula import SCORED, buckets, fit, people, placed_corpus
from tests.support.selecting import RULES, select

NAMES = [f"B{k}" for k in range(1, 9)]
BOUNDS = (5.0, 5.5, 6.0, 6.5, 6.8)


def by_hand(key, score, width, constants, seed=0):
    """A record's bucket, by the formula of the recipe, one number after the other."""
    bounds = constants.bounds
    tier = sum(score >= bound for bound in bounds)
    mantissa, exponent = math.frexp(width * 100)
    rank = np.interp(
        math.floor(mantissa * 128) / 128 * 2**exponent, constants.sizes, constants.ranks
    )
    z = (0.6 * (tier - 1) / (len(bounds) - 1) + 0.4 * rank - constants.mean) / constants.deviation
    weights = [math.exp(-((z - (-1.75 + 0.5 * k)) ** 2) / 2 / 0.7) for k in range(8)]
    unit = order_unit(f"curriculum:{seed}:", record_id("test", key))
    below = np.cumsum(weights) / sum(weights)
    return NAMES[int((unit >= below[:-1]).sum())]


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """3,000 records in three shards, and the constants that were fitted on them."""
    folder = tmp_path_factory.mktemp("curriculum")
    found = list(people(3000).items())
    corpus = placed_corpus(folder / "c", *(dict(found[i::3]) for i in range(3)))
    content, overrides = fit(corpus, folder / "fit.json")
    return corpus, dict(found), content, overrides


@pytest.mark.slow
def test_each_record_has_the_bucket_of_the_formula(placed):
    corpus, records, content, overrides = placed
    constants = load_fit(content["file"])
    _, rows = buckets(corpus, *overrides)
    for key, (score, width) in records.items():
        expected = by_hand(key, score, width, constants) if score >= BOUNDS[0] else None
        assert rows[key]["curriculum"] == expected, key
    low, high = (
        np.mean([records[k][0] for k, row in rows.items() if row["curriculum"] == name])
        for name in ("B1", "B8")
    )
    assert low < 5.5 < 6.3 < high
    _, others = buckets(corpus, *overrides, "select.curriculum.seed=1")
    assert {k: r["curriculum"] for k, r in others.items()} != {
        k: r["curriculum"] for k, r in rows.items()
    }


@pytest.mark.slow
def test_any_number_of_tiers_is_scaled_to_the_same_line(placed, tmp_path):
    corpus, records, _, _ = placed
    content, overrides = fit(corpus, tmp_path / "fit.json", "select.tiers.bounds=[5, 6, 7, 8]")
    constants = load_fit(content["file"])
    _, rows = buckets(corpus, *overrides)
    for key, (score, width) in records.items():
        if score >= 5:
            assert rows[key]["curriculum"] == by_hand(key, score, width, constants), key


@pytest.mark.slow
def test_other_records_move_no_draw(placed, tmp_path):
    corpus, records, _, overrides = placed
    _, before = buckets(corpus, *overrides)
    some = [key for i, key in enumerate(records) if i % 7 < 3]
    chance = np.random.default_rng(1)
    mixed = [(key, records[key]) for key in some] + list(people(500, seed=9).items())
    order = chance.permutation(len(mixed))
    cut = [dict(mixed[i] for i in part) for part in np.array_split(order, 2)]
    _, after = buckets(placed_corpus(tmp_path / "other", *cut), *overrides)
    assert len(after) == len(some) + 500
    assert {k: after[k]["curriculum"] for k in some} == {k: before[k]["curriculum"] for k in some}


@pytest.mark.slow
def test_buckets_are_counted_among_the_kept(placed):
    corpus, _, content, overrides = placed
    said = []
    made, rows = buckets(corpus, *overrides, said=said)
    kept = Counter(r["curriculum"] or "none" for r in rows.values() if r["state"] == "kept")
    assert sum(kept.values()) == content["kept"] == len(rows)
    assert content["records"] == sum(n for name, n in kept.items() if name != "none")
    counts = published_selection(corpus.store, made.tables["selection"])["counts"]
    assert {n[11:]: c for n, c in counts.items() if n.startswith("curriculum:")} == kept
    line = ", ".join(f"{kept[name]:,} {name}" for name in [*NAMES, "none"])
    assert f"  kept by curriculum bucket: {line}" in said
    assert any(line in text for text in status_lines(status(made.run, made.stages)))
    # What was expected when the constants were fitted is what is drawn, but for chance.
    for name, expected in content["expected"].items():
        assert abs(kept[name] - expected) < 5 * math.sqrt(expected)
    filling = content_of.filling(queries.Tables(corpus, made.tables))
    assert Counter({b: sum(n for _, n in tiers) for b, tiers in filling}) == kept
    found = Counter((r["curriculum"] or "none", r["tier"] or "none") for r in rows.values())
    assert {(b, t): n for b, tiers in filling for t, n in tiers} == found


@pytest.mark.slow
def test_a_selection_without_buckets_is_as_it_was(placed):
    corpus, _, _, overrides = placed
    made, rows = buckets(corpus, *SCORED)
    assert all("curriculum" not in row for row in rows.values())
    null, _ = buckets(corpus, *overrides, "select.curriculum=null")
    assert null.tables["selection"] == made.tables["selection"]
    assert content_of.filling(queries.Tables(corpus, made.tables)) == []


@pytest.mark.slow
def test_the_constants_enter_the_hash_by_their_content(placed, tmp_path):
    corpus, _, content, overrides = placed

    def hashed(*more):
        made = curated.run(corpus.uri, "select", *overrides, *more)
        made.pin("select")
        return made.tables["selection"]

    first = hashed()
    known = json.loads(Path(content["file"]).read_text())
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(known))
    assert hashed(f"select.curriculum.fitted={copy}") == first
    assert hashed(f"select.curriculum.fitted={json.dumps(known)}") == first
    copy.write_text(json.dumps({**known, "mean": known["mean"] + 0.01}))
    others = {
        hashed(f"select.curriculum.fitted={copy}"),
        hashed("select.curriculum.seed=3"),
        hashed("select.curriculum.temperature=0.5"),
        hashed("select.curriculum.premium=width > 900"),
    }
    assert len(others | {first}) == 5


@pytest.mark.slow
def test_what_is_not_known_has_no_bucket_and_is_not_waited_for(placed, tmp_path):
    overrides = placed[3]
    records = {
        "whole": (6.2, 500),
        "no score": (None, 500),
        "low": (4.9, 500),
        "not measured": (6.2, None),
    }
    corpus = placed_corpus(tmp_path / "c", records)
    _, rows = buckets(corpus, *overrides)
    assert {key: row["curriculum"] is None for key, row in rows.items()} == {
        "whole": False,
        "no score": True,
        "low": True,
        "not measured": True,
    }
    assert {key: row["state"] for key, row in rows.items() if row["state"] != "kept"} == {
        "not measured": "pending"
    }


@pytest.mark.slow
def test_premium_records_are_shown_last_and_some_of_them_again(placed):
    corpus, records, _, overrides = placed
    condition = "TRY_CAST(source.caption AS DOUBLE) >= 7"
    _, before = buckets(corpus, *overrides)
    _, rows = buckets(corpus, *overrides, f"select.curriculum.premium={condition}")
    found = Counter(rows[k]["curriculum"] for k, (s, _) in records.items() if s >= 7)
    assert set(found) == {"B9", "B10"}
    total = sum(found.values())
    assert abs(found["B10"] - 0.15 * total) < 4 * math.sqrt(0.15 * 0.85 * total)
    assert all(
        rows[k]["curriculum"] == before[k]["curriculum"] for k, (s, _) in records.items() if s < 7
    )
    none, every = (
        buckets(
            corpus,
            *overrides,
            f"select.curriculum.premium={condition}",
            f"select.curriculum.again={share}",
        )[1]
        for share in (0, 1)
    )
    assert "B10" not in {row["curriculum"] for row in none.values()}
    assert "B9" not in {row["curriculum"] for row in every.values()}


def test_a_premium_condition_that_is_not_known_yet_gives_no_bucket(placed, tmp_path):
    overrides = placed[3]
    corpus = placed_corpus(tmp_path / "c", {"a": (6.2, 500)})
    _, rows = buckets(corpus, *overrides, "select.curriculum.premium=luma_mean > 9")
    assert (rows["a"]["state"], rows["a"]["curriculum"]) == ("kept", None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["select.curriculum={}"], "select.curriculum.fitted is not set"),
        (["select.tiers.score=null"], "select.curriculum needs quality tiers"),
        (["select.curriculum.size=widht"], "select.curriculum.size: 'widht' reads 'widht'"),
        (["select.curriculum.size=avg(width)"], "is an aggregate over many records"),
        (
            ["select.curriculum.size=format"],
            "curriculum.fitted was fitted with select.curriculum.size",
        ),
        (
            ["select.curriculum.premium=width"],
            "select.curriculum.premium: 'width' has type integer",
        ),
        (["select.curriculum.premium=random() < 1"], "does not always return the same result"),
        (["select.curriculum.quality_weight=0.5"], "which is now 0.5; to fit it again, run: nucl"),
        (
            ["select.tiers.bounds=[5.0, 6.0]"],
            "select.curriculum.fitted was fitted with select.tiers.bounds",
        ),
    ],
)
def test_what_is_wrong_is_told_before_any_shard(placed, changed, said):
    corpus, _, _, overrides = placed
    made = curated.run(corpus.uri, "select", *overrides, *changed)
    with pytest.raises(RequestError) as caught:
        made.pin("select")
    assert said in str(caught.value)


def test_a_size_that_fails_on_a_record_is_named(placed, tmp_path):
    corpus = placed_corpus(tmp_path / "c", {"a": (6.2, 2**30), "b": (5.2, 200)})
    content = placed[2]
    known = {**json.loads(Path(content["file"]).read_text()), "size": "width * height"}
    made = curated.run(
        corpus.uri,
        "select",
        *SCORED,
        "select.curriculum.size=width * height",
        f"select.curriculum.fitted={json.dumps(known)}",
    )
    made.select()
    (failure,) = made.failures
    assert "select.curriculum.size: 'width * height' fails on a record" in failure["error"]


@pytest.mark.slow
def test_the_walk_over_duplicates_moves_no_draw(corpus):
    fit_of_widths = {
        "records": 4,
        "score": "width",
        "bounds": [90, 120],
        "size": "width::BIGINT * height",
        "quality_weight": 0.6,
        "mean": 0.4,
        "deviation": 0.3,
        "sizes": [6144, 9600, 38400],
        "ranks": [0.2, 0.5, 0.9],
    }
    overrides = (
        "select.tiers={score: width, bounds: [90, 120]}",
        f"select.curriculum.fitted={json.dumps(fit_of_widths)}",
    )
    _, walked = select(corpus, *overrides)
    alone = curated.run(corpus.uri, "select", RULES, *overrides, "select.drop_duplicates=false")
    alone.select()
    rows = curated.table(corpus, "selection", alone.tables["selection"])
    assert {row["id"]: row["curriculum"] for row in rows} == {
        row["id"]: row["curriculum"] for row in walked.values()
    }
    duplicate = next(row for row in walked.values() if row["state"] == "duplicate")
    assert duplicate["curriculum"] is not None
    assert [walked[key]["curriculum"] for key in ("broken.png", "tiny.png")] == [None, None]
