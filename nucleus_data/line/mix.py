"""The mix of upstream, refined and synthesized captions, compared with the wanted mix.

Each captioned record has one route: `refined` if one of its captions was generated from its
upstream caption, else `web` if the upstream caption is kept, else `synthesized`.
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
from nucleus_data.printed import counted
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
    """Checks and returns the condition `caption.preserve`; None if it is not set.

    Args:
        settings: The stage's settings.
        pins: The signals that the condition may read.
        upstream: Reads the types of the corpus's upstream columns; None if there is no corpus yet.

    Raises:
        RequestError: The condition does not parse, or reads an unknown signal.
    """
    if settings.preserve is None:
        return None
    columns = upstream() if upstream is not None else None
    return condition(settings.preserve, "caption.preserve", pins, columns)


def routes_of(
    state: ShardRows, settings: CaptionSettings, preserve: Condition | None
) -> Counter[str]:
    """Counts a shard's records by route, assuming that all due captions are made.

    Args:
        state: The open shard.
        settings: The stage's settings.
        preserve: The condition `caption.preserve`.
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
    """Counts all kept records by route, given the captions that exist.

    Args:
        corpus: The corpus.
        tables: Config hashes by table, with that of the selection.
        settings: The stage's settings.
        preserve: The condition `caption.preserve`.
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
    """Yields a line about the mix; none if no record has a caption."""
    total = sum(routes[route] for route in ROUTES)
    if not total:
        return
    parts = []
    for route in ROUTES:
        target = f", wanted {getattr(wanted, route):.0%}" if wanted else ""
        parts.append(f"{route} {routes[route]:,} ({routes[route] / total:.0%}{target})")
    without = f"; {routes[NONE]:,} without a caption" if routes[NONE] else ""
    yield f"  mix of {counted(total, 'record')}: {', '.join(parts)}{without}"


def _came_with(open_table: Open, shard: int, rows: np.ndarray) -> Mask:
    """Returns which records have a nonempty upstream caption, bool[N]."""
    texts = read_columns(open_table, shard, [CAPTION], rows).column(CAPTION).cast(pa.string())
    there = pc.not_equal(pc.utf8_trim_whitespace(texts), "")
    found: Mask = pc.fill_null(there, False).to_numpy()
    return found


def _preserved(
    open_table: Open, shard: int, rows: np.ndarray, came: Mask, preserve: Condition | None
) -> Mask:
    """Returns which records keep their upstream caption, bool[N]; false if that is not known yet.

    Args:
        open_table: Opens a table by its name.
        shard: The shard's number.
        rows: (N,) row numbers of the records, ascending.
        came: (N,) which records have an upstream caption.
        preserve: The condition `caption.preserve`; None to keep all.
    """
    if preserve is None:
        return came
    kept = came.copy()
    for name in tables_of(preserve):
        kept &= np.isin(rows, open_table(name).covered(shard))
    answers = condition_answers(preserve, open_table, shard, rows[kept])
    kept[kept] = pc.fill_null(answers, False).to_numpy()
    return kept


def _count(refined: Mask, kept: Mask, made: Mask) -> Counter[str]:
    """Counts records by route, from bool[N] masks."""
    return Counter(
        {
            REFINED: int(refined.sum()),
            WEB: int((kept & ~refined).sum()),
            SYNTHESIZED: int((made & ~refined & ~kept).sum()),
            NONE: int((~made & ~refined & ~kept).sum()),
        }
    )
