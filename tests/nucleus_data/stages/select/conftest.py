import pytest

from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture


@pytest.fixture
def corpus(tmp_path):
    """Two shards: four copies of one picture (one bad, one tiny), others, and a broken file."""
    made = small_corpus(tmp_path / "c", shards=0)
    first = {
        "copy.jpg": picture(1, (120, 80), "JPEG", quality=90),
        "largest.png": picture(1, (240, 160)),
        "tiny.png": picture(1, (36, 24)),
        "other.png": picture(2),
        "broken.png": picture(3)[:90],
    }
    second = {"exact.jpg": first["copy.jpg"], "third.jpg": picture(4, form="JPEG")}
    write_shard(made, 0, first, {"largest.png": "bad", "other.png": "good"})
    write_shard(made, 1, second)
    curated.inspect(made)
    return made
