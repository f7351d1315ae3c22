from collections import defaultdict

import numpy as np
import pytest

from nucleus_data.hashing import keyed_uint64, record_id
from nucleus_model.data.draws import as_bytes
from nucleus_model.data.exact import exact_epoch

IDS = sorted(record_id("exact", str(number)) for number in range(200))
BUCKETS = np.array([0] * 150 + [1] * 3 + [2] * 47)[np.argsort([i[5:] for i in IDS])]


def by_definition(seed, epoch, batch_sizes):
    """The order as the first version of the trainer had it, by lists of ids."""
    buckets = defaultdict(list)
    keys = {i: keyed_uint64(f"order:{epoch}", seed, i) for i in IDS}
    for place in sorted(range(len(IDS)), key=lambda n: (keys[IDS[n]], IDS[n])):
        buckets[BUCKETS[place]].append(place)
    batches = [
        found[start : start + batch_sizes[bucket]]
        for bucket, found in buckets.items()
        for start in range(0, len(found), batch_sizes[bucket])
    ]
    return sorted(batches, key=lambda b: keyed_uint64(f"batch:{epoch}", seed, IDS[b[0]]))


@pytest.mark.parametrize(("seed", "epoch", "sizes"), [(0, 0, (4, 4, 4)), (3, 7, (32, 2, 5))])
def test_batches_are_those_that_runs_of_before_had(seed, epoch, sizes):
    made = exact_epoch(as_bytes(IDS), BUCKETS, sizes, seed=seed, epoch=epoch)
    found = [made.batch(number).tolist() for number in range(len(made))]
    assert found == by_definition(seed, epoch, sizes)


def test_no_samples_are_no_batches():
    made = exact_epoch(as_bytes([]), np.array([], np.int64), [4], seed=0, epoch=0)
    assert len(made) == 0
