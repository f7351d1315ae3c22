"""That the nano transformer learns what captions say, in small; the whole is `bench_learning`."""

import pytest

from scripts.bench_learning import Size, bench


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_it_draws_what_captions_say_if_they_are_true(tmp_path):
    """350 steps: enough to tell true captions from shuffled ones, not to draw well."""
    rows = {row.name: row.value for row in bench(tmp_path, Size(1500, 350, 80))}
    print(rows)
    assert rows["true captions: prompts"] == 80
    assert rows["true captions: objects right"] >= 0.1
    assert rows["shuffled captions: objects right"] <= 0.05
    assert rows["true captions: loss at the end"] < rows["shuffled captions: loss at the end"]
    for name in ("true.png", "shuffled.png", "found.json"):
        assert (tmp_path / name).stat().st_size > 0
