import re
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.runner.candidates import sample_rows
from nucleus_model.settings.choice import choose, split_holdout
from nucleus_model.settings.settings import QuickTrainSettings

IDS = [record_id("test", str(number)) for number in range(300)]


def settings(**values):
    return QuickTrainSettings.model_validate({"holdout_share": 0.2, "holdout_limit": 1000} | values)


def test_without_a_limit_all_are_used():
    train, held = choose(IDS, settings())
    assert sorted([*train, *held]) == sorted(IDS)
    assert (train, held) == split_holdout(sorted(IDS), 0.2, 1000)


def test_a_limit_takes_the_first_ids_in_any_order_of_the_set():
    train, held = choose(IDS, settings(limit=40))
    assert sorted([*train, *held]) == sorted(IDS)[:40]
    assert choose(IDS[::-1], settings(limit=40)) == (train, held)
    assert set(train) <= set(choose(IDS, settings(limit=60))[0])
    assert choose(IDS, settings(limit=10_000)) == choose(IDS, settings())


def test_a_sample_is_that_of_every_other_stage():
    train, held = choose(IDS, settings(sample=0.3))
    assert 50 < len(train) + len(held) < 130
    rows = sample_rows(pa.table({"id": sorted(IDS)}), 0.3)
    assert sorted([*train, *held]) == rows.column("id").to_pylist()
    both = choose(IDS, settings(sample=0.3, limit=30))
    assert sorted([*both[0], *both[1]]) == rows.column("id").to_pylist()[:30]


def test_a_held_out_sample_is_never_trained_on():
    _, whole = choose(IDS, settings())
    for few in (settings(limit=50), settings(sample=0.5)):
        train, held = choose(IDS, few)
        assert not set(train) & set(whole)
        assert set(held) <= set(whole)


@given(st.integers(1, 60), st.sampled_from([1.0, 0.5, 0.05]), st.integers(1, 60))
def test_too_little_is_refused_and_what_is_allowed_works(count, sample, limit):
    ids = IDS[:count]
    try:
        train, held = choose(ids, settings(sample=sample, limit=limit))
    except RequestError as error:
        text = str(error)
        kind, allowed = re.search(
            r"a (sample|limit) of .* use (?:a share of )?([\d.]+)%? or more", text
        ).groups()
        value = {"sample": float(allowed) / 100} if kind == "sample" else {"limit": int(allowed)}
        asked = {"sample": sample, "limit": limit if kind == "limit" else None}
        train, held = choose(ids, settings(**(asked | value)))
        if kind == "limit":
            assert int(allowed) > limit
    whole_train, whole_held = choose(ids, settings())
    assert bool(train) == bool(whole_train)
    assert bool(held) == bool(whole_held)


def test_the_message_says_what_is_left():
    _, held = choose(IDS, settings(holdout_share=0.05))
    first = sorted(IDS).index(min(held))
    assert first > 1
    with pytest.raises(RequestError) as error:
        choose(IDS, settings(holdout_share=0.05, limit=first))
    assert str(error.value) == (
        f"a limit of {first} leaves {first} of the set's 300 samples: {first} to train on, "
        f"0 held out; use {first + 1} or more (or quick_train.holdout_limit=0, for no "
        "held-out loss)"
    )
    choose(IDS, settings(holdout_share=0.05, limit=first + 1))
    choose(IDS, settings(holdout_share=0.05, limit=first, holdout_limit=0))
    with pytest.raises(RequestError, match=r"a sample of 1e-06 leaves 0 of the set's 300 samples"):
        choose(IDS, settings(sample=1e-6))


def test_a_set_without_a_held_out_sample_is_limited_all_the_same():
    ids = choose(IDS, settings())[0][:20]
    assert choose(ids, settings(limit=1)) == (ids[:1], [])
    assert choose(IDS, settings(limit=1, holdout_share=0.0)) == (sorted(IDS)[:1], [])


@pytest.mark.slow
def test_nothing_of_torch_ray_or_a_stage_is_imported():
    code = (
        "import sys, nucleus_model.settings.choice; "
        "bad = [m for m in sys.modules if m in ('torch', 'ray') or m.startswith("
        "('nucleus_data.stage', 'nucleus_data.runner'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_split_depends_on_ids_alone():
    ids = sorted(IDS)[:60]
    train, held = split_holdout(ids, 0.2, 100)
    assert {*train, *held} == set(ids)
    assert len(train) + len(held) == 60
    assert 4 <= len(held) <= 22
    part = ids[::-2]
    _, held_of_part = split_holdout(part, 0.2, 100)
    assert [item for item in held if item in part] == held_of_part


def test_more_than_the_limit_is_neither_trained_on_nor_measured():
    ids = sorted(IDS)[:60]
    train, held = split_holdout(ids, 0.2, 100)
    train_too, few = split_holdout(ids, 0.2, 3)
    assert train_too == train
    assert few == held[:3]
    assert split_holdout(ids, 0.0, 3) == (ids, [])
