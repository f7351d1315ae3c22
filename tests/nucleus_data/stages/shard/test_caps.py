"""Caps of curriculum buckets: who goes in, who is left out, and what the samples say of it."""

import hashlib
from collections import Counter, defaultdict

import pytest
from pydantic import ValidationError

from nucleus_data.errors import RequestError
from nucleus_data.pages import content
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.shard.settings import ShardSettings
from tests.support import curated
from tests.support.curricula import fit
from tests.support.sharded import OVERRIDES, left_out, manifest, samples, shard

# One resolution and large tars: the bytes are tested elsewhere.
LARGE = ("shard.resolutions=[64]", "shard.samples_per_tar=100")
TIERS = ("select.tiers.score=bytes_per_pixel", "select.tiers.bounds=[0, 0.3, 1]")


@pytest.fixture(scope="module")
def placed(made, tmp_path_factory):
    """The corpus of 40 pictures, selected with buckets; the overrides; id -> bucket, of a set."""
    file = tmp_path_factory.mktemp("fit") / "fit.json"
    _, overrides = fit(made, file, scored=(*OVERRIDES, *TIERS, *LARGE))
    run = curated.run(made.uri, "select", *overrides)
    run.do("select")
    rows = curated.table(made, "selection", run.tables["selection"])
    buckets = {r["id"]: r["curriculum"] for r in rows if r["state"] == "kept"}
    out = left_out(shard(made, *overrides)[1])
    return made, overrides, {i: b for i, b in buckets.items() if (i, 64) not in out}


def ids_of(folder):
    return {i for e in manifest(folder) if e["resolution"] == 64 for i in samples(folder, e)}


def first(captioned, most):
    """The ids that a cap lets in, by the definition."""
    of = defaultdict(list)
    for ident, bucket in captioned.items():
        of[bucket].append((hashlib.md5(f"shard:0:{ident}".encode()).hexdigest(), ident))
    return {i for found in of.values() for _, i in sorted(found)[:most]}


@pytest.mark.slow
def test_an_over_full_bucket_keeps_the_first_by_keyed_order(placed):
    corpus, overrides, captioned = placed
    said = []
    _, folder = shard(corpus, *overrides, "shard.caps=3", said=said)
    counts = Counter(captioned.values())
    assert max(counts.values()) > 3
    assert ids_of(folder) == first(captioned, 3)
    reasons = {i: reason for (i, _), reason in left_out(folder).items()}
    lost = {i: b for i, b in captioned.items() if i not in ids_of(folder)}
    over = {i: r for i, r in reasons.items() if r.startswith("over_cap")}
    assert over == {i: f"over_cap:{bucket}" for i, bucket in lost.items()}
    numbers = {bucket: count - 3 for bucket, count in counts.items() if count > 3}
    told = ", ".join(f"{count} over the cap of {b}" for b, count in sorted(numbers.items()))
    assert any(told in line for line in said)
    listed = content.left_out(corpus, folder[folder.index("sets/") :])
    assert {r: n for r, n, _ in listed if r.startswith("over")} == {
        f"over_cap:{b}": n for b, n in numbers.items()
    }


@pytest.mark.slow
def test_caps_of_some_buckets_leave_the_others_alone(placed):
    corpus, overrides, captioned = placed
    (name, count), *_ = Counter(captioned.values()).most_common()
    _, folder = shard(corpus, *overrides, f"shard.caps={{{name}: {count - 1}, B9: 0}}")
    lost = set(captioned) - ids_of(folder)
    assert [captioned[i] for i in lost] == [name]
    _, none = shard(corpus, *overrides, f"shard.caps={{{name}: 0}}")
    assert ids_of(none) == {i for i, bucket in captioned.items() if bucket != name}


@pytest.mark.slow
def test_columns_say_tier_and_bucket_where_there_are_some(placed):
    corpus, overrides, captioned = placed
    run, folder = shard(corpus, *overrides)
    assert ids_of(folder) == set(captioned)
    made = SetFolder(corpus.store, run.training_set)
    for tar in made.manifest():
        for row in made.columns(run.pins.columns).values(tar.path).to_pylist():
            assert row["curriculum"] == captioned[row["id"]]
            assert row["tier"] in ("A1", "A2", "A3")
    run, _ = shard(corpus)
    made = SetFolder(corpus.store, run.training_set)
    rows = made.columns(run.pins.columns).values(made.manifest()[0].path)
    assert rows["tier"].null_count == rows["curriculum"].null_count == rows.num_rows > 0


@pytest.mark.slow
def test_caps_need_buckets(made):
    run = curated.run(made.uri, "shard", *OVERRIDES, "shard.caps=3", dry_run=True)
    with pytest.raises(RequestError, match=r"shard\.caps needs curriculum buckets"):
        run.pin("shard")


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ({"B11": 3}, "unknown bucket 'B11'; allowed: B1, B2"),
        ({"B1": -1}, "must be 0 or more, not -1"),
        (-2, "must be 0 or more, not -2"),
        (True, "valid integer"),
    ],
)
def test_wrong_caps_are_refused(caps, said):
    with pytest.raises(ValidationError, match=said):
        ShardSettings(caps=caps)
