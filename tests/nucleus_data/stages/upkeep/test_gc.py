"""What is used stays; what is not is shown, and goes when that is asked for."""

import json

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.sets.beside import encode, read
from nucleus_data.stages.upkeep.gc import Counted, garbage, lines, remove
from tests.support import curated
from tests.support.ingested import tree
from tests.support.upkept import PATH, corpus_with_set


def add_run(corpus, name, **plan):
    corpus.store.put(f"runs/{name}/plan.json", json.dumps(plan).encode())


def add_table(corpus, name, hashed):
    rows = corpus.records.read(0, ["shard", "row", "id"])
    Table(corpus.store, name, hashed).append(0, rows, {})


@pytest.fixture
def corpus(tmp_path):
    found, _ = corpus_with_set(tmp_path)
    for hashed in ("a" * 16, "b" * 16, "c" * 16):
        add_table(found, "inspect.tone", hashed)
    add_run(found, "20200101T000000.000-one", tables={"inspect.tone": "a" * 16}, set=PATH)
    add_run(found, "20210101T000000.000-two", tables={"inspect.tone": "b" * 16})
    return found


def paths(corpus, *named, newest=None, **options):
    run = curated.run(corpus.uri, "gc", dry_run=True, **options)
    return [one.path for one in garbage(run, Counted(named, newest))]


def test_all_runs_count_and_runs_that_are_named(corpus):
    tone = [f"tables/inspect.tone/{letter * 16}" for letter in "abc"]
    assert paths(corpus) == tone[2:]
    assert paths(corpus, "20200101T000000.000-one") == tone[1:]
    assert paths(corpus, newest=1) == [PATH, tone[0], tone[2]]
    with pytest.raises(RequestError, match="no run three"):
        paths(corpus, "three")


def test_who_began_lately_counts_and_so_does_the_configuration(corpus):
    add_table(corpus, "inspect.tone", curated.recipe(corpus.uri).pins().tables["inspect.tone"])
    curated.run(corpus.uri, "inspect")
    corpus.store.remove("runs/20200101T000000.000-one/plan.json")
    corpus.store.remove("runs/20210101T000000.000-two/plan.json")
    now = curated.run(corpus.uri, "other", dry_run=False)
    now.run.pin({"inspect.tone": "a" * 16})
    assert f"tables/inspect.tone/{'a' * 16}" not in paths(corpus, newest=0)
    assert f"tables/inspect.tone/{'b' * 16}" in paths(corpus, newest=0)
    assert len([p for p in paths(corpus, newest=0) if "inspect.tone" in p]) == 2


@pytest.mark.slow
def test_what_a_set_is_made_of_stays_and_so_does_what_nobody_makes_again(corpus):
    add_table(corpus, "embed.heads", "1" * 16)  # the set's columns name it
    add_table(corpus, "embed.heads", "2" * 16)
    add_table(corpus, "caption.short", "e" * 16)  # and its edition this one
    add_table(corpus, "caption.mine", "3" * 16)
    corpus.store.create(f"tables/caption.mine/{'3' * 16}/_published.json", b"{}")
    add_table(corpus, "caption.short", "4" * 16)
    corpus.store.create(f"tables/caption.short/{'4' * 16}/_again.json", b'{"list": "5"}')
    add_table(corpus, "again.caption.short", "5" * 16)
    found = [path for path in paths(corpus) if "inspect" not in path]
    assert found == [f"tables/embed.heads/{'2' * 16}"]


@pytest.mark.slow
def test_editions_that_no_run_names(corpus):
    from nucleus_data.sets.layout import SetFolder
    from tests.support.sets import add_edition

    folder = SetFolder(corpus.store, PATH)
    add_edition(folder, folder.manifest_table().to_pylist(), config_hash="f" * 16)
    assert not [path for path in paths(corpus) if path.startswith("sets")]
    add_run(corpus, "20220101T000000.000-three", tables={}, set=PATH, edition="f" * 16)
    assert [p for p in paths(corpus) if p.startswith("sets")] == [f"{PATH}/captions/{'e' * 16}"]


def test_sets_that_are_not_finished_or_of_the_older_layout(corpus):
    corpus.store.create("sets/half/1/64/1x1/000000.tar", b"half")
    corpus.store.create("sets/going/1/64/1x1/000000.tar", b"half")
    add_run(corpus, "20220101T000000.000-three", tables={}, set="sets/going/1")
    table = read(corpus.store, f"{PATH}/manifest.parquet").drop_columns(["index_sha256"])
    corpus.store.put(f"{PATH}/manifest.parquet", encode(table))
    assert [p for p in paths(corpus) if p.startswith("sets")] == ["sets/half/1", PATH]


def test_nothing_goes_unless_it_is_asked_for(corpus):
    before = tree(corpus.uri)
    run = curated.run(corpus.uri, "gc", dry_run=True)
    found = garbage(run, Counted(newest=0))
    said = list(lines(found, removed=False))
    assert "3 folders" not in said[-2]
    assert "--remove" in said[-1]
    assert tree(corpus.uri) == before
    remove(corpus.store, found)
    left = tree(corpus.uri)
    assert left.keys() == {n for n in before if not n.startswith(("sets", "tables/inspect"))}
    assert garbage(run, Counted(newest=0)) == []
    assert Corpus(corpus.uri).shards() == [0, 1]


def test_encoded_values_that_nobody_reads(corpus):
    from nucleus_data.sets.layout import SetFolder
    from nucleus_data.stages.encode.used import reads
    from nucleus_data.stages.upkeep.gc import Encoders
    from nucleus_model.settings.encoded import latents_identity, texts_identity
    from nucleus_model.settings.settings import QuickTrainSettings
    from tests.support.sets import EDITION

    folder = SetFolder(corpus.store, PATH)
    mine, other = {"codec_factor": 4}, {"codec_factor": 2, "text": {"max_tokens": 50}}
    one, two = (QuickTrainSettings.model_validate(each) for each in (mine, other))
    abouts = {
        "mine": latents_identity(one, 64, "fp32"),
        "theirs": latents_identity(two, 64, "fp32"),
        "nobodys": latents_identity(two, 64, "bf16"),
        "half": None,
        "texts/mine": texts_identity(one, EDITION, "fp32"),
        "texts/theirs": texts_identity(two, EDITION, "fp32"),
        "texts/gone": texts_identity(one, "f" * 16, "fp32"),
    }
    for name, about in abouts.items():
        texts, _, last = name.rpartition("/")
        where = folder.name(f"encoded/{texts}{last}" + ("/texts" if texts else ""))
        corpus.store.create(f"{where}/000000.safetensors", b"values")
        if about is not None:
            content = about | ({"parts": 1} if texts else {})
            corpus.store.create(f"{where}/encoded.json", json.dumps(content).encode())

    def found():
        run = curated.run(corpus.uri, "gc", dry_run=True)
        every = garbage(run, Counted(), Encoders({"quick_train": mine}, reads))
        return {one.path.rpartition("/")[2]: one for one in every if "/encoded/" in one.path}

    assert found().keys() == {"theirs", "nobodys", "half", "textstheirs", "textsgone"}
    add_run(corpus, "20220101T000000.000-three", set=PATH, config={"quick_train": other})
    add_run(corpus, "29990101T000000.000-four", set=PATH, config={"quick_train": mine})
    # What may be under way, what cannot be understood, and what is damaged stay.
    assert found().keys() == {"nobodys", "textsgone"}
    add_run(corpus, "20230101T000000.000-five", set=PATH, config={"quick_train": {"old": 1}})
    corpus.store.put(folder.name("encoded/nobodys/encoded.json"), b"{")
    assert found().keys() == {"textsgone"}
    before = tree(folder.url())
    remove(corpus.store, list(found().values()))
    assert found() == {}
    gone = {name for name in before if name.startswith("encoded/textsgone/")}
    assert len(gone) == 2
    assert tree(folder.url()).keys() == before.keys() - gone
