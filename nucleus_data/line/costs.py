"""`nucleus caption --dry-run`: estimates the cost of the missing captions, and their mix."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.runs import PLAN, path_of, read_json, stage_lines
from nucleus_data.corpus.tables import Table
from nucleus_data.line.mix import mix_lines, preserve_condition, routes_of
from nucleus_data.runner.rows import ShardRows
from nucleus_data.runner.run import Run
from nucleus_data.runner.stored import read_columns
from nucleus_data.stages.caption.costs import (
    Measured,
    Rate,
    ToDo,
    cost_lines,
    costs,
    largest_picture,
    picture_tokens,
)
from nucleus_data.stages.caption.models import OWN, place_of
from nucleus_data.stages.caption.places import SOURCE
from nucleus_data.stages.caption.settings import CaptionSettings, in_order
from nucleus_data.stages.caption.stage import BUSY, Caption
from nucleus_data.stages.select.check import upstream_columns

SIZES = ("inspect.file:width", "inspect.file:height")
CAPTION = f"records:{SOURCE}caption"
MEASURED_SHARDS = 8
RATED_RUNS = 5


class Seen(NamedTuple):
    """What a dry run collects about a shard.

    Attributes:
        todo: Variant -> what is left to do.
        routes: Number of records by origin of their captions (`line.mix`).
    """

    todo: Mapping[str, ToDo]
    routes: Counter[str]


def look(run: Run, stage: Caption) -> Any:
    """Returns a function that collects `Seen` from an open shard."""
    settings = stage.settings
    upstream = upstream_columns(run.corpus)
    preserve = preserve_condition(settings, run.pins, lambda: upstream)

    def seen(state: ShardRows) -> Seen:
        todo = {name: _todo(settings, state, name) for name in in_order(settings.variants)}
        return Seen(todo, routes_of(state, settings, preserve))

    return seen


def forecast(run: Run, stage: Caption, found: Sequence[Seen]) -> Iterator[str]:
    """Yields lines about the estimated costs and the mix.

    Args:
        run: The run.
        stage: The stage.
        found: The results of `look`, one per shard.
    """
    settings = stage.settings
    todo = {name: ToDo() for name in in_order(settings.variants)}
    routes: Counter[str] = Counter()
    for seen in found:
        routes.update(seen.routes)
        for name, mine in seen.todo.items():
            todo[name].add(mine)
    measured = {
        name: _measured(run.corpus, f"caption.{name}", run.tables[f"caption.{name}"])
        for name in todo
    }
    rates = {name: _rate(run.corpus, settings, name) for name in settings.asked_of()}
    yield from cost_lines(settings, costs(settings, todo, measured), rates)
    if settings.mix is not None:
        yield from mix_lines(routes, settings.mix)


def _todo(settings: CaptionSettings, state: ShardRows, name: str) -> ToDo:
    """Returns what is left to do for a variant in a shard."""
    rows = state.lacking[f"caption.{name}"]
    found = ToDo(len(rows))
    variant = settings.variants[name]
    if not len(rows):
        return found
    if variant.sees_picture:
        sizes = read_columns(state.table, state.shard, SIZES, rows)
        width, height = (sizes.column(path).cast("int64") for path in SIZES)
        known = pc.and_(pc.is_valid(width), pc.is_valid(height))
        wide, high = (side.filter(known).to_numpy().astype(np.float64) for side in (width, height))
        mine = settings.of(name)
        tokens = picture_tokens(wide, high, mine.max_side, mine.max_pixels).sum()
        found.picture_tokens = int(tokens) + (len(rows) - len(wide)) * largest_picture(mine)
    if variant.refines:
        texts = read_columns(state.table, state.shard, [CAPTION], rows).column(CAPTION)
        found.upstream_letters = int(pc.sum(pc.utf8_length(texts.cast("string"))).as_py() or 0)
    return found


def _measured(corpus: Corpus, name: str, config_hash: str) -> Measured:
    """Returns means over the captions in a table's first `MEASURED_SHARDS` shards."""
    table = Table(corpus.store, name, config_hash)
    count, sums = 0, np.zeros(3)
    columns = ["caption", "prompt_tokens", "tokens", "attempts"]
    for shard in table.shards()[:MEASURED_SHARDS]:
        part = table.read(shard, columns)
        if part is None or not {*columns} <= {*part.column_names}:
            continue
        part = part.filter(pc.is_valid(part.column("caption")))
        count += part.num_rows
        sums += [pc.sum(part.column(column)).as_py() or 0 for column in columns[1:]]
    if not count or not sums[1]:
        return Measured()
    read, written, attempts = sums / count
    return Measured(count, float(read), float(written), max(1.0, float(attempts)))


def _rate(corpus: Corpus, settings: CaptionSettings, name: str) -> Rate:
    """Returns how fast a model captions: as configured, or as in recent runs (without loading)."""
    mine = settings.with_model(name)
    if mine.rate:
        return Rate(mine.rate, f"{place_of(name)}.rate")
    captions, seconds, runs = 0, 0.0, 0
    for run in reversed(corpus.runs()):
        try:
            config = read_json(corpus.store, path_of(run, PLAN)).get("config") or {}
            lines = stage_lines(corpus.store, run)
        except DamagedError:
            continue
        work = [_work(config.get("caption", {}), line, mine.model) for line in lines]
        if done := sum(count for count, _ in work):
            captions += done
            seconds += sum(took for _, took in work)
            runs += 1
        if runs >= RATED_RUNS:
            break
    if not captions or seconds <= 0:
        return Rate(None, "")
    return Rate(captions / seconds, f"the newest {runs} runs" if runs > 1 else "an earlier run")


def _work(config: Mapping[str, Any], line: Mapping[str, Any], model: str) -> tuple[int, float]:
    """Returns how many captions a model made in an earlier run, and in how many seconds.

    Args:
        config: The section `caption` of that run's configuration.
        line: A line of the run's `stages.jsonl`.
        model: The model.
    """
    if line["stage"] != Caption.name:
        return 0, 0.0
    others = {name: other["model"] for name, other in config.get("models", {}).items()}
    models = {
        f"caption.{name}": others.get(variant.get("model"), config.get("model"))
        for name, variant in config.get("variants", {}).items()
    }
    tables = line.get("tables", {}).items()
    done = sum(table["done"] for name, table in tables if models.get(name) == model)
    # With several models, divide the stage's time in proportion to how long each engine was busy.
    places = {place_of(OWN): config.get("model")}
    places |= {place_of(name): other for name, other in others.items()}
    extra = line.get("extra", {})
    busy_ms = {place: extra.get(f"{BUSY}{place}", 0) for place in places}
    own_ms = sum(busy_ms[place] for place, other in places.items() if other == model)
    share = own_ms / sum(busy_ms.values()) if any(busy_ms.values()) else 1.0
    seconds = (line["seconds"] - line.get("setup_seconds", 0)) * share
    return (done, seconds) if done else (0, 0.0)
