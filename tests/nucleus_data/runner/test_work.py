import math
from collections import Counter

import pytest
from pydantic import ValidationError

from nucleus_data.runner.work import Resources, Summary


def test_summaries_add_up():
    whole = Summary(rows=2, already=1, done=1, bytes=10)
    whole.seconds["read"] += 1.0
    part = Summary(rows=3, done=1, retryable=1, bytes=5)
    part.failed, part.extra = Counter(corrupt=2), Counter(pairs=4)
    part.seconds["read"] += 0.5
    part.seconds["plan"] += 0.25
    whole.add(part)
    assert (whole.rows, whole.already, whole.done, whole.retryable, whole.bytes) == (5, 1, 2, 1, 15)
    assert whole.failed == {"corrupt": 2}
    assert whole.extra == {"pairs": 4}
    assert whole.seconds == {"read": 1.5, "plan": 0.25}


def test_memory_is_only_asked_of_ray_where_it_is_set():
    assert Resources(num_cpus=2).ray_options() == {"num_cpus": 2, "num_gpus": 0}
    assert Resources(memory_gb=1.5).ray_options()["memory"] == 3 << 29
    for name in ("memory_gb", "row_memory_gb"):  # bytes are integers
        with pytest.raises(ValidationError, match="finite number"):
            Resources(**{name: math.inf})
    with pytest.raises(ValidationError, match="wrokers"):
        Resources(wrokers=2)
