import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.looked_at import RULES
from tests.support.reported import EVIL_NAME


@pytest.fixture
def corpus(tmp_path):
    """Two shards: three copies of one picture of several sizes, others, and a broken file."""
    made = small_corpus(tmp_path / "c", shards=0)
    first = {
        "middle.png": picture(1, (120, 80)),
        "largest.png": picture(1, (240, 160)),
        "tiny.png": picture(1, (36, 24)),
        "other.png": picture(2),
        "broken.png": picture(3)[:90],
    }
    write_shard(made, 0, first, {"other.png": "bad"})
    write_shard(made, 1, {EVIL_NAME: picture(4, form="JPEG"), "wide.png": picture(5, (150, 60))})
    curated.inspect(made)
    return made


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A curated corpus: kept and duplicate, rejected, failed; and its training set."""
    corpus = Corpus(str(tmp_path_factory.mktemp("look") / "c"), create=True)
    images = {
        "kept.png": picture(1, (120, 80)),
        "copy.png": picture(1, (60, 40)),
        "small.png": picture(2, (20, 20)),
        "broken.png": b"<html>",
    }
    write_shard(corpus, 0, images, {"kept.png": "a picture"})
    write_shard(corpus, 1, {f"{i}.png": picture(10 + i) for i in range(20)})
    run = curated.run(corpus.uri, "curate", RULES)
    run.do("inspect", "dedup", "select", "shard")
    corpus.made = run
    return corpus
