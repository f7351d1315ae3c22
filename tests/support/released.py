"""Two corpora of which the later has copies of what the earlier released."""

from nucleus_data.corpus import Corpus
from nucleus_data.world.corpora import small_corpus, write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.reported import EVIL_NAME


def earlier_release(folder) -> Corpus:
    """An earlier corpus, with small copies of pictures 1 and 2."""
    made = small_corpus(folder, shards=0)
    write_shard(made, 0, {"a.png": picture(1, (60, 40)), "b.jpg": picture(2, form="JPEG")})
    curated.inspect(made)
    return made


def later_corpus(folder) -> Corpus:
    """Pictures 1 to 4; of 1 two sizes, of 4 two equal files, of 2 the release's own bytes."""
    made = small_corpus(folder, shards=0)
    first = {"large1.png": picture(1, (240, 160)), "one.png": picture(1), "three.png": picture(3)}
    second = {EVIL_NAME: picture(4), "copy.png": picture(4), "two.jpg": picture(2, form="JPEG")}
    write_shard(made, 0, first)
    write_shard(made, 1, second)
    curated.inspect(made)
    return made
