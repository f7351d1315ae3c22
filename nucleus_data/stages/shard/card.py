"""Collects the facts for a set's card: the sources of its pictures, and how they were selected.

They are aggregated in SQL, so that no rows are loaded, and written as `card.json` beside the set's
manifest. The card (README.md, croissant.json) is made from that and from the set's own files.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import CaptionSet
from nucleus_data.corpus.tables import parts_list
from nucleus_data.runner.run import Run
from nucleus_data.sets.facts import FACTS, Checked, Facts, Rule, read_facts
from nucleus_data.sets.layout import LEFT_OUT, SetFolder
from nucleus_data.sets.set_card import write_card
from nucleus_data.stages.select.settings import RuleSettings, SelectSettings
from nucleus_data.stages.select.stage import TABLE as SELECTION
from nucleus_data.stages.select.stage import published_selection
from nucleus_data.stages.shard.settings import ShardSettings

# Settings that the card mentions, since they determine how the pictures look.
TOLD = ("format", "quality", "crop", "crop_loss", "multiple", "resolutions", "seed")


def write_facts(
    run: Run,
    folder: SetFolder,
    settings: ShardSettings,
    select: SelectSettings,
    sets: Sequence[CaptionSet],
) -> None:
    """Writes or updates `card.json` and the card of a set.

    Args:
        run: The run that made the set or an edition of it.
        folder: The set.
        settings: How the set was made.
        select: How its records were selected.
        sets: The caption sets of the edition.
    """
    corpus = run.corpus
    hashed = run.tables[SELECTION]
    made = published_selection(corpus.store, hashed) or {}
    counts = made.get("counts", {})
    origin = read_facts(folder)  # counts from when the tars were written
    facts = Facts(
        selection=hashed,
        states=made.get("states", {}),
        rules=tuple(
            Rule(name, rule.where, rule.action, rule.reason, _found(counts, name, rule))
            for name, rule in select.rules.items()
        ),
        duplicates=select.drop_duplicates,
        settings={**{name: getattr(settings, name) for name in TOLD}, **folder.about()},
        sources=origin.sources,
        licences=origin.licences,
        left_out=_left_out(corpus, folder),
        checked=_with(origin.checked, _checked(corpus, sets)),
    )
    # The content is a function of the set and its tables, so concurrent writers write the same.
    corpus.store.put(folder.name(FACTS), facts.encode())
    write_card(folder, settings.name, run.say)


def _with(before: Iterable[Checked], now: Iterable[Checked]) -> tuple[Checked, ...]:
    """Merges the checks' results of several editions, one per caption table, sorted by name."""
    by_table = {result.captions: result for result in (*before, *now)}
    return tuple(by_table[name] for name in sorted(by_table))


def _found(counts: dict[str, int], name: str, rule: RuleSettings) -> int:
    """Returns how many records a rule rejected or flagged.

    A failure may have the name of a rule that flags, such as `truncated`: it is not counted.
    """
    return counts.get(f"{'flags' if rule.action == 'flag' else 'reasons'}:{name}", 0)


def _left_out(corpus: Corpus, folder: SetFolder) -> dict[str, dict[str, int]]:
    """Returns resolution -> reason -> number of records left out."""
    files = f"read_parquet({parts_list([folder.url(LEFT_OUT)])})"
    query = f"SELECT resolution, reason, count(*) FROM {files} GROUP BY 1, 2 ORDER BY 1, 2"
    counts: dict[str, dict[str, int]] = {}
    for resolution, reason, count in corpus.connection().sql(query).fetchall():
        counts.setdefault(str(resolution), {})[reason] = count
    return counts


def _checked(corpus: Corpus, sets: Iterable[CaptionSet]) -> Iterable[Checked]:
    """Yields the checks' results for each caption table of an edition."""
    connection = corpus.connection()
    for one in sets:
        if not one.config_hash:
            continue
        table = corpus.at(one.table, one.config_hash)
        if not table.whole_parts():
            continue
        rows = table.sql()
        columns = set(connection.sql(f"SELECT * FROM {rows} LIMIT 0").columns)
        again = "len(faults) > 0" if "faults" in columns else "false"
        (counts,) = connection.sql(
            f"SELECT count(*) FILTER (error IS NULL), "
            f"count(*) FILTER (error IS NULL AND {again}), count(error) FROM {rows}"
        ).fetchall()
        given, twice, without = counts
        found: Counter[str] = Counter()
        if "faults" in columns:
            found.update(_counts(connection, f"SELECT faults[1] FROM {rows} WHERE error IS NULL"))
        found.update(_counts(connection, f"SELECT split_part(error, ':', 1) FROM {rows}"))
        if table.failed.whole_parts():
            # Retryable failures that have not been resolved since.
            waiting = (
                f"SELECT reason FROM {table.failed.sql()} "
                f"WHERE (shard, row) NOT IN (SELECT (shard, row) FROM {rows})"
            )
            lost = _counts(connection, waiting)
            without += sum(lost.values())
            found.update(lost)
        yield Checked(one.name, given, twice, without, dict(sorted(found.items())))


def _counts(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    """Returns value -> number of occurrences in a query's result."""
    found: Any = connection.sql(
        f"SELECT v, count(*) FROM ({query}) AS q(v) WHERE v IS NOT NULL GROUP BY 1"
    )
    return dict(found.fetchall())
