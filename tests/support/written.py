"""Training sets written by the stage's own tasks, of corpora whose tables are made up."""

import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.pixels import open_picture
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.shard.publish import PublishTask
from nucleus_data.stages.shard.write import TarTask
from nucleus_data.world.corpora import write_part, write_shard
from scripts.bench_plan import FILE, SELECTION, TABLES, planned


def pictured(folder, *shards, sizes=None):
    """A corpus whose records are all kept: key -> bytes, a dictionary a shard.

    Args:
        folder: Where it is made.
        shards: The pictures of each shard.
        sizes: Key -> width and height, of pictures that cannot be opened.
    """
    corpus = Corpus(str(folder), create=True)
    for shard, pictures in enumerate(shards):
        write_shard(corpus, shard, pictures)
        rows = corpus.records.read(shard, ["shard", "row", "id", "key"]).to_pylist()
        for row in rows:
            row["state"] = "kept"
            row["width"], row["height"] = (sizes or {}).get(row["key"]) or size_of(
                pictures[row["key"]]
            )
        for name, schema in (("inspect.file", FILE), ("selection", SELECTION)):
            table = pa.Table.from_pylist(rows, schema)
            write_part(Table(corpus.store, name, TABLES[name]), shard, table)
    return corpus


def size_of(data):
    header = open_picture(data).header
    return header.width, header.height


def written(corpus, settings, folder="sets/made/0"):
    """Plans, writes and publishes a set."""
    planning = planned(corpus, settings, folder)
    tars = planning.totals().tars
    task = TarTask(corpus.uri, {}, folder, settings)
    for number in range(tars):
        task.run(number)
    PublishTask(corpus.uri, {}, folder, tars, settings).run(0)
    return SetFolder(corpus.store, folder)
