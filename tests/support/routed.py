"""Captions by a stand-in, of a curated corpus, for tests of who is asked what."""

import shutil
from functools import cache

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.stages.caption import stage as module
from tests.support import curated
from tests.support.captions.standin import StandIn, answering, place
from tests.support.stepped import BARE, curate, three_shards


@cache
def _curated(folder):
    made = three_shards(folder / "c")
    curate(made)
    return made


def curated_copy(tmp_path_factory, tmp_path):
    """Three curated shards of two pictures; made once, and copied for each test."""
    made = _curated(tmp_path_factory.getbasetemp() / "routed")
    shutil.copytree(made.uri, tmp_path / "c")
    return Corpus(str(tmp_path / "c"))


def sensible(key, picture, ask):
    """A caption that no check refuses."""
    return f"A red ring lies on the lawn beside a blue box ({place(key)})."


def captioning(corpus, monkeypatch, *overrides, answers=None, command="caption", **options):
    """A run whose engine gives these answers, what it says, and who was asked what."""
    engine = StandIn(say=answering(answers or {}, sensible))
    monkeypatch.setattr(module, "load_engine", lambda settings: engine)
    said = []
    made = curated.run(corpus.uri, command, BARE, *overrides, said=said, **options)
    return made, said, lambda: sorted(key for key, *_ in engine.submitted)


def write_match(made, cosines):
    """The table `embed.match` of a run's configuration: (shard, row) -> cosine, or None."""
    corpus = made.corpus
    table = Table(corpus.store, "embed.match", made.tables["embed.match"])
    schema = table_schema(pa.schema([("caption_cosine", pa.float32())]))
    for shard in sorted({shard for shard, _ in cosines}):
        keys = corpus.records.read(shard, ["shard", "row", "id"]).to_pylist()
        rows = [
            {**key, "caption_cosine": cosines[shard, key["row"]]}
            for key in keys
            if (shard, key["row"]) in cosines
        ]
        table.append(shard, pa.Table.from_pylist(rows, schema), {})
