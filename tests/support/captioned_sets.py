"""A small corpus with older captions, an import, and captions that records came with."""

import json

from nucleus_data.corpus import Corpus
from nucleus_data.stages.caption.importing.imported import import_captions, plan_import
from nucleus_data.world.corpora import write_shard
from tests.support import curated
from tests.support.curated import picture

OLD = "0123456789abcdef"
RULES = "select.rules={}"
SETTINGS = (RULES, "shard.resolutions=[64]", "shard.multiple=8")
COUNT = 8


def texts(corpus, word):
    """Id -> a text with the record's number."""
    rows = corpus.table("records").project("id, key").fetchall()
    return {ident: f"{word} {int(key.split('.')[0])}" for ident, key in rows}


def captioned_sets(folder):
    """Two shards of four pictures: `short` of the recipe and an older one, and `alt`, imported.

    Returns:
        The corpus, and a run that made its selection.
    """
    corpus = Corpus(str(folder / "c"), create=True)
    for shard in range(2):
        images = {f"{4 * shard + i}.png": picture(4 * shard + i) for i in range(4)}
        write_shard(corpus, shard, images, {key: f"web {key[0]}" for key in images})
    curated.inspect(corpus)
    run = curated.run(corpus.uri, "curate", *SETTINGS)
    run.do("dedup", "select")
    now = texts(corpus, "now")
    failed = sorted(now)[0]
    write = curated.write_captions
    write(corpus, run.tables["caption.short"], "short", now | {failed: None})
    write(corpus, OLD, "short", texts(corpus, "old"))
    run.alt = import_texts(corpus, folder, texts(corpus, "other"))
    return corpus, run


def import_texts(corpus, folder, by_id, name="alt"):
    """Imports captions; returns what the import says."""
    lines = [json.dumps({"id": ident, "caption": text}) for ident, text in by_id.items()]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    columns = {"id": None, "key": None, "url": None}
    request = plan_import(
        str(folder / f"{name}.jsonl"), name, ["short", "long"], corpus, columns=columns
    )
    return import_captions(corpus, request)
