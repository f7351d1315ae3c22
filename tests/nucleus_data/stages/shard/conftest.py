import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.curated import picture
from tests.support.sharded import OVERRIDES, SIZES, shard


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A corpus of 40 pictures in two shards, selected and captioned; its training set is not made.

    Captions by the picture's number: divisible by 10, none; odd, a web caption; the variant `short`
    for all others but multiples of 5 (failed there), `long` for those below 20.
    """
    folder = tmp_path_factory.mktemp("set") / "c"
    corpus = Corpus(str(folder), create=True)
    forms = [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")]
    for number in (0, 1):
        images, web = {}, {}
        for n in range(20 * number, 20 * number + 20):
            form, ending = forms[n % 3]
            images[f"{n}.{ending}"] = picture(n, SIZES[n % len(SIZES)], form)
            web[f"{n}.{ending}"] = f" web {n} " if n % 2 else "  "
        write_shard(
            corpus, number, {**images, f"tiny{number}.png": picture(99 + number, (20, 20))}, web
        )
    curated.inspect(corpus)
    run = curated.run(folder, "curate", *OVERRIDES)
    run.do("dedup")
    states = run.select()
    assert (states["kept"], states["rejected"]) == (40, 2)
    numbers = {}
    for record in corpus.table("records").to_arrow_table().to_pylist():
        if not record["key"].startswith("tiny"):
            numbers[record["id"]] = int(record["key"].split(".")[0])
    short = {i: f"short {n}" if n % 5 else None for i, n in numbers.items() if n % 10}
    long = {i: f"long {n}: ünïcode\nand lines" for i, n in numbers.items() if n < 20 and n % 10}
    curated.write_captions(corpus, run.tables["caption.short"], "short", short)
    curated.write_captions(corpus, run.tables["caption.long"], "long", long)
    corpus.numbers = numbers
    return corpus


@pytest.fixture
def training_set(made):
    return shard(made)[1]
