"""How right routes are, on few pictures; `--bare 2000` gives the figures of the docs."""

import pytest

world = pytest.importorskip("scripts.bench_captioning_world")


@pytest.mark.slow
def test_the_similarity_tells_whether_half_of_a_caption_is_right():
    table = world.bare_routes(120, *world.BARE_WORLDS).splitlines()
    preserve = next(line for line in table if line.startswith("| all ") and "> 0.65" in line)
    auc, _, _, precision, recall = preserve.strip("| ").split("|")[2:]
    assert float(auc) >= 0.97
    assert float(precision.split()[0]) >= 0.95
    assert float(recall.split()[0]) >= 0.9
