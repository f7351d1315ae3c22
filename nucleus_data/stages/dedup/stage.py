"""`dedup` over a corpus: all confirmed pairs, written shard-aligned.

In this process where the records fit `dedup.partition_records`; otherwise by the workers, on files.
Both give the same table.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_data.stages.dedup.gather import Source
from nucleus_data.stages.dedup.partitioned import (
    Plan,
    RunTasks,
    clear,
    search_partitioned,
    write_pairs,
)
from nucleus_data.stages.dedup.settings import DedupSettings

PUBLISHED = "_published.json"
COUNTED = ("records", "others", "pairs", "exact", "candidates")


def compare(
    corpus: Corpus,
    table: str,
    sources: Sequence[Source],
    settings: DedupSettings,
    run_tasks: RunTasks,
) -> dict[str, int] | None:
    """Finds and commits all pairs, unless they are there.

    Args:
        corpus: The corpus.
        table: Config hash of the table `dedup`.
        sources: What is compared, the corpus itself first.
        settings: What counts as a pair.
        run_tasks: Runs tasks; see `search_partitioned`.

    Returns:
        Counts: `records`, `others` (records of other corpora), `pairs`, `exact` (of equal files),
        `candidates` (pairs of different pictures with near pHashes); None if tasks failed.
    """
    stand_somewhere()
    target = Table(corpus.store, "dedup", table)
    try:
        found = published_counts(corpus, table)
    except FileNotFoundError:
        pass
    else:
        clear(corpus.store, table)  # a run may have been killed before it did
        return found
    records = sum(source.records() for source in sources)
    if records <= settings.partition_records:
        counts = _in_memory(target, sources, settings)
    else:
        plan = Plan.made(sources, records, settings, table)
        searched = search_partitioned(plan, run_tasks)
        if searched is None:
            return None
        counts = dict(searched)
    counts = {name: counts.get(name, 0) for name in COUNTED}
    marker = f"{target.folder}/{PUBLISHED}"
    corpus.store.create(marker, json.dumps(counts, sort_keys=True).encode())
    clear(corpus.store, table)
    return counts


def published_counts(corpus: Corpus, table: str) -> dict[str, int]:
    """What `compare` returned. Raises FileNotFoundError where it has not ended yet."""
    found = json.loads(corpus.store.read(f"tables/dedup/{table}/{PUBLISHED}"))
    return {name: found.get(name, 0) for name in COUNTED}


def have_pairs(corpus: Corpus, tables: Mapping[str, str]) -> bool:
    """Whether all pairs of the tables as they are now are there."""
    return corpus.store.exists(f"tables/dedup/{tables['dedup']}/{PUBLISHED}")


def _in_memory(target: Table, sources: Sequence[Source], settings: DedupSettings) -> dict[str, int]:
    from nucleus_data.stages.dedup.pairs import find_pairs  # compiles the search

    rows = [source.read(source.shards) for source in sources]
    pairs, counts = find_pairs(np.concatenate(rows), settings)
    write_pairs(target, pairs)
    return {**counts, "records": len(rows[0]), "others": sum(map(len, rows[1:]))}
