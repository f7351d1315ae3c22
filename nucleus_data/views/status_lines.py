"""Formats the result of `nucleus status` for people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nucleus_data.corpus.looking import without_lines
from nucleus_data.corpus.states import STATES
from nucleus_data.corpus.told import command as told
from nucleus_data.corpus.told import ingesting
from nucleus_data.line.lines import RETRIED
from nucleus_data.line.mix import mix_lines
from nucleus_data.printed import counted, visible
from nucleus_data.stages.caption.settings import Mix
from nucleus_data.stages.dedup.stage import TABLE as PAIRS

NOW, OTHER = "of the current tables and rules", "of other tables or rules"


def status_lines(content: dict[str, Any]) -> Iterator[str]:
    """Yields the status (`views.status.status`) as lines for people."""
    yield (
        f"{content['corpus']}: {counted(content['records'], 'record')} in "
        f"{counted(content['shards'], 'image shard')}"
    )
    if content.get("not_counted_shards"):
        yield f"  at least{_not_counted(content)}"
    again = bool(content["failed_records_retryable"])
    if failed := content["failed_records"]:
        passing = content["failed_records_retryable"]
        yield f"  {failed:,} of them failed and have no image" + _passing(passing)
    if content["claimed_shards"] > content["shards"]:
        unfinished = content["claimed_shards"] - content["shards"]
        yield (
            f"  {unfinished} claimed shards are not yet ingested; "
            f"run: {ingesting(content['corpus'])}"
        )
    elif not content["records"]:
        yield f"  nothing ingested yet; run: {ingesting(content['corpus'])}"
    if not content["several_writers"]:
        yield "  this store can't prevent overwriting; use only one writer at a time"
    rows = [*_tables(content), *_selections(content)]
    names = [name for name, _, _ in rows]
    names += ["training set"] * bool(content["training_sets"] or content["unfinished_sets"])
    width = max(map(len, [*names, "last run"]))
    for name, hashed, text in rows:
        yield f"  {name:<{width}}  {hashed:<16}  {text}"
    for folder in content["training_sets"]:
        yield f"  {'training set':<{width}}  {folder}"
    for folder in content["unfinished_sets"]:
        yield f"  {'training set':<{width}}  {folder} (not finished)"
    if "caption_mix" in content:
        wanted = Mix.model_validate(content["caption_mix_wanted"])
        for line in mix_lines(Counter(content["caption_mix"]), wanted):
            yield f"  {'captions':<{width}}  {line.strip()}"
    if last := content["last_run"]:
        yield f"  {'last run':<{width}}  {last['run']}: {'; '.join(_did(last))}"
        for text in last.get("told", ()):
            yield f"  {'':<{width}}  {visible(str(text))}"
        again = again or not {*RETRIED}.isdisjoint(last["failed_stages"])
    again = again or any(
        table["failed_retryable"] and name.partition(".")[0] in RETRIED
        for name, table in content["tables"].items()
    )
    if again:
        yield f"to retry temporary failures, run: {told('retry', content['corpus'])}"
    yield from without_lines(content["left_out"])


def _tables(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields (name, config hash, counts) of tables, those of other configurations last."""
    named = [({"table": n, "note": ""} | t) for n, t in content["tables"].items()]
    for table in [*named, *content["other_tables"]]:
        what = "pairs" if table["table"] == PAIRS else "rows"
        text = f"{table['rows']:>10,} {what}"
        if table["failed"]:
            text += f", {table['failed']:,} of them failed"
        if table["failed_retryable"]:
            text += f", {table['failed_retryable']:,} more failed temporarily"
        if table.get("missing"):
            text += f", {counted(table['missing'], 'image')} not done yet"
        text += _not_counted(table)
        note = f" ({table['note']})" if table["note"] else ""
        yield table["table"], table["config_hash"], text + note


def _not_counted(content: Mapping[str, Any]) -> str:
    """Returns a note about shards that were not counted; empty if there are none."""
    count = content.get("not_counted_shards", 0)
    return f", {count:,} image shards not counted (the next run counts them)" * bool(count)


def _selections(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields the selections with their counts; the current one is marked."""
    for hashed, states in content["selections"].items():
        counts = ", ".join(f"{states[s]:,} {s}" for s in STATES if states.get(s))
        note = NOW if hashed == content["selection"] else OTHER
        yield "selection", hashed, f"{counts} ({note})"
        if tiers := content["tiers"][hashed]:
            counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items())
            yield "", "", f"kept by quality tier: {counts}"
        if filling := content["curricula"][hashed]:
            counts = ", ".join(f"{count:,} {bucket}" for bucket, count in filling.items())
            yield "", "", f"kept by curriculum bucket: {counts}"


def _did(last: Mapping[str, Any]) -> Iterable[str]:
    if last["done"]:
        yield f"did {', '.join(last['done'])}"
    if idle := last.get("nothing_to_retry"):
        yield f"nothing to retry in {', '.join(idle)}"
    elif not last["done"]:
        yield "no stage finished"
    if last["not_done"]:
        yield f"not done: {', '.join(last['not_done'])} (still running, or ended early)"
    if last["failed_shards"]:
        yield f"{counted(last['failed_shards'], 'shard')} failed"


def _passing(count: int) -> str:
    return f", {count:,} of these temporarily" if count else ""
