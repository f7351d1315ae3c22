"""For `nucleus explain`: how likely each curriculum bucket was for one record."""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.runner.run import Run
from nucleus_data.stages.select.curriculum import COLUMN
from nucleus_data.stages.select.draw import BUCKETS, NAMES, size_ranks
from nucleus_data.stages.select.plan import TABLE, Decisions, SelectionPlan
from nucleus_data.stages.select.stage import Select


def placement(run: Run, select: Select, story: Mapping[str, Any]) -> dict[str, Any]:
    """Explains how a record got its curriculum bucket.

    Args:
        run: A dry run.
        select: The stage whose settings drew the bucket.
        story: The record's story from `explain`.

    Returns:
        The bucket, the tier, the size and its rank, the place, and the probability of each bucket;
        empty if the record has no bucket in the current configuration.
    """
    try:
        hashed = select.named(run)[TABLE]
        decisions = select.decisions(run)
    except (RequestError, CorpusError):  # reported by `nucleus select`
        return {}
    decision = story.get(f"{TABLE}/{hashed}", {})
    curriculum, record = decisions.curriculum, story["record"]
    if curriculum is None or curriculum.fit is None or not decision.get(COLUMN):
        return {}
    asked = Decisions([], [], [], decisions.tiers, curriculum)
    corpus = run.corpus
    plan = SelectionPlan(
        corpus.uri, corpus.store.storage_options, asked, run.tables, [record["shard"]]
    )
    rows = plan.records(corpus, record["shard"])
    mine = rows.filter(pc.equal(rows.column("row"), record["row"]))
    answers = plan.judge([plan.read(corpus, record["shard"], mine)])
    tier, size = (answers.column(name).to_numpy() for name in ("tier", "size"))
    place = curriculum.places(tier, size)
    (rank,) = size_ranks(size, curriculum.fit.sizes, curriculum.fit.ranks).tolist()
    (chances,) = curriculum.chances(place).tolist()
    return {
        "bucket": decision[COLUMN],
        "tier": decision["tier"],
        "size": size.item(),
        "size rank": rank,
        "place": place.item(),
        **{f"chance of {name}": p for name, p in zip(NAMES[:BUCKETS], chances, strict=True)},
    }
