"""Where captioned records' captions come from: the mix that results, beside the wanted one.

A record is `refined` if one of its captions was made of the caption that it came with, `web` if
that caption is kept as it is, `synthesized` if it has made captions alone.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import Table
from nucleus_data.line.routing import condition
from nucleus_data.runner.candidates import chosen_records
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.rows import ShardRows
from nucleus_data.runner.stored import condition_answers, read_columns, tables_of
from nucleus_data.stage import Condition
from nucleus_data.stages.caption.places import SOURCE
from nucleus_data.stages.caption.settings import CaptionSettings, Mix
from nucleus_data.stages.select.stage import TABLE as SELECTION

CAPTION = f"records:{SOURCE}caption"
WEB, REFINED, SYNTHESIZED, NONE = "web", "refined", "synthesized", "none"
ROUTES = (WEB, REFINED, SYNTHESIZED)

Open = Callable[[str], Table]
Mask = np.ndarray


def preserve_condition(
    settings: CaptionSettings, pins: Pins, upstream: Callable[[], Mapping[str, pa.DataType]] | None
) -> Condition | None:
    """The checked `caption.preserve`; None without one. Raises RequestError."""
    if settings.preserve is None:
        return None
    columns = upstream() if upstream is not None else None
    return condition(settings.preserve, "caption.preserve", pins, columns)


def routes_of(
    state: ShardRows, settings: CaptionSettings, preserve: Condition | None
) -> Counter[str]:
    """The mix of a shard's records, once all that is asked about is done.

    Args:
        state: The shard.
        settings: The stage's.
        preserve: The checked `caption.preserve`.
    """
    chooses = state.job.stage.chooses == "kept"
    selection = state.table(SELECTION) if chooses else None
    rows = chosen_records(state.corpus, state.shard, selection, state.job.sample)["row"].to_numpy()
    came = _came_with(state.table, state.shard, rows)
    refined, made = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for name, due in state.due.items():
        mine = np.isin(rows, due)
        made |= mine
        chain = settings.chain(name.removeprefix("caption."))
        if any(settings.variants[each].refines for each in chain):
            refined |= mine & came
    kept = _preserved(state.table, state.shard, rows, came, preserve)
    return _count(refined, kept, made)


def stored_routes(
    corpus: Corpus,
    tables: Mapping[str, str],
    settings: CaptionSettings,
    preserve: Condition | None,
) -> Counter[str]:
    """The mix of the kept records' captions that are there.

    Args:
        corpus: The corpus.
        tables: Config hashes, that of the selection among them.
        settings: The stage's.
        preserve: The checked `caption.preserve`.
    """

    def open_table(name: str) -> Table:
        return Table(corpus.store, name, tables[name])

    def count(shard: int) -> Counter[str]:
        rows = chosen_records(corpus, shard, open_table(SELECTION), 1.0)["row"].to_numpy()
        came = _came_with(open_table, shard, rows)
        refined, made = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        for name in settings.variants:
            paths = [f"caption.{name}:caption", f"caption.{name}:source"]
            found = read_columns(open_table, shard, paths, rows)
            there = pc.is_valid(found.column(0)).to_numpy()
            made |= there
            source = pc.fill_null(pc.equal(found.column(1).cast(pa.string()), REFINED), False)
            refined |= there & source.to_numpy()
        return _count(refined, _preserved(open_table, shard, rows, came, preserve), made)

    total: Counter[str] = Counter()
    for found in at_once(corpus.store, count, corpus.shards()):
        total.update(found)
    return total


def mix_lines(routes: Counter[str], wanted: Mix | None) -> Iterator[str]:
    """The mix for people; none if nothing has a caption."""
    total = sum(routes[route] for route in ROUTES)
    if not total:
        return
    parts = []
    for route in ROUTES:
        aim = f", wanted {getattr(wanted, route):.0%}" if wanted else ""
        parts.append(f"{route} {routes[route]:,} ({routes[route] / total:.0%}{aim})")
    without = f"; {routes[NONE]:,} without any" if routes[NONE] else ""
    yield f"  mix of {total:,} records: {', '.join(parts)}{without}"


def _came_with(open_table: Open, shard: int, rows: np.ndarray) -> Mask:
    """Which records came with a caption, bool[N]."""
    texts = read_columns(open_table, shard, [CAPTION], rows).column(CAPTION).cast(pa.string())
    there = pc.not_equal(pc.utf8_trim_whitespace(texts), "")
    found: Mask = pc.fill_null(there, False).to_numpy()
    return found


def _preserved(
    open_table: Open, shard: int, rows: np.ndarray, came: Mask, preserve: Condition | None
) -> Mask:
    """Which records keep the caption that they came with, bool[N]; not where it is not known."""
    if preserve is None:
        return came
    kept = came.copy()
    for name in tables_of(preserve):
        kept &= np.isin(rows, open_table(name).covered(shard))
    answers = condition_answers(preserve, open_table, shard, rows[kept])
    kept[kept] = pc.fill_null(answers, False).to_numpy()
    return kept


def _count(refined: Mask, kept: Mask, made: Mask) -> Counter[str]:
    """How many records have each route."""
    return Counter(
        {
            REFINED: int(refined.sum()),
            WEB: int((kept & ~refined).sum()),
            SYNTHESIZED: int((made & ~refined & ~kept).sum()),
            NONE: int((~made & ~refined & ~kept).sum()),
        }
    )
