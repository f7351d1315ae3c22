"""`nucleus captions list`: all caption sets of a corpus, and the runs and sets that use them."""

from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import (
    AT,
    PREFIX,
    SOURCE,
    CaptionSet,
    is_import,
    is_whole,
    not_ended,
    there,
)
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.runs import plans
from nucleus_data.printed import counted
from nucleus_data.runner.run import Run
from nucleus_data.sets.layout import published_sets
from nucleus_data.stages.shard.captions import caption_tables

TOLD = ("model", "revision", "prompt")


def caption_sets(run: Run) -> dict[str, Any]:
    """Returns all caption sets, with counts and uses, JSON-able; those of the recipe come first.

    Args:
        run: A dry run; its pins determine the recipe's variants.
    """
    current = caption_tables(run.pins)
    return going_without(run.corpus, lambda corpus: _content(corpus, current))


def _content(corpus: Corpus, current: Mapping[str, str]) -> dict[str, Any]:
    used = _used(corpus)
    sets = [
        {
            **_about(corpus, one),
            "recipe": current.get(one.variant) == one.config_hash,
            **used.get((one.variant, one.config_hash), {"runs": 0, "sets": []}),
        }
        for one in there(corpus.store)
    ]
    sets.sort(key=lambda s: (not s["recipe"], s["imported"], s["variant"], s["first_run"]))
    missing = [n for n, h in current.items() if not corpus.store.exists(f"tables/{PREFIX}{n}/{h}")]
    return {
        "corpus": corpus.uri,
        "source": _source(corpus),
        "sets": sets,
        "not_made": missing,
        "left_out": [error.content() for error in corpus.left_out],
    }


def _about(corpus: Corpus, one: CaptionSet) -> dict[str, Any]:
    """Returns a set's counts, and the model and prompt that made it."""
    table = corpus.at(one.table, one.config_hash)
    about: dict[str, Any] = {
        "name": one.name,
        "variant": one.variant,
        "config_hash": one.config_hash,
        "imported": is_import(corpus.store, one),
        "ended": is_whole(corpus.store, one),
        "not_ended": "" if is_whole(corpus.store, one) else not_ended(corpus.store, one),
        **dict.fromkeys(("rows", "captions", "failed", "failed_retryable"), 0),
        **dict.fromkeys(TOLD),
        "first_run": "",
        "last_run": "",
    }
    if table.whole_parts():
        relation = corpus.rows(table)
        told = [n if n in relation.columns else "NULL" for n in TOLD]
        ((rows, captions, failed, *values),) = relation.aggregate(
            "count(*), count(caption), count(error), "
            + ", ".join(f"min({column})" for column in told)
        ).fetchall()
        about |= {"rows": rows, "captions": captions, "failed": failed}
        about |= dict(zip(TOLD, values, strict=True))
    if table.failed.whole_parts():
        shards = table.failed.shards()
        about["failed_retryable"] = sum(len(corpus.failed_rows(table, n)) for n in shards)
    return about


def _source(corpus: Corpus) -> dict[str, Any]:
    """Counts the upstream captions."""
    records = corpus.records
    captions = 0
    if records.whole_parts():
        relation = corpus.rows(records)
        if "source.caption" in relation.columns:
            text = "nullif(trim(CAST(\"source.caption\" AS VARCHAR)), '')"
            ((captions,),) = relation.aggregate(f"count({text})").fetchall()
    return {"name": SOURCE, "captions": captions}


def _used(corpus: Corpus) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns (variant, hash) -> the runs that pinned it (number, first, last) and training sets.

    Training sets are found by their editions, not by runs, which may pin a set that they never
    write.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run, plan in plans(corpus.store):  # newest first
        tables = plan.get("tables")
        if not isinstance(tables, dict):
            continue
        for key in {(_variant(n), str(h)) for n, h in tables.items() if n.startswith(PREFIX)}:
            uses = found.setdefault(key, {"runs": 0, "last_run": run, "sets": []})
            uses["runs"] += 1
            uses["first_run"] = run
    for folder in published_sets(corpus.store):
        for table in {table for edition in folder.editions() for table in edition.tables}:
            variant, _, config_hash = table.partition(AT)
            uses = found.setdefault((variant, config_hash), {"runs": 0, "sets": []})
            uses["sets"].append(folder.path)
    return found


def _variant(table: str) -> str:
    return table.removeprefix(PREFIX).partition(AT)[0]


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Yields the sets as lines for people."""
    source = content["source"]
    yield f"{SOURCE}: {counted(source['captions'], 'caption')} that came with the records"
    for one in content["sets"]:
        kind = "of the recipe" if one["recipe"] else "imported" if one["imported"] else "older"
        parts = [counted(one["captions"], "caption"), f"{one['failed']:,} failed"]
        if one["failed_retryable"]:
            parts.append(f"{one['failed_retryable']:,} more failed temporarily")
        if not one["ended"]:
            parts.append("not finished")
        yield f"{one['name']} ({kind}): {', '.join(parts)}"
        if one["not_ended"]:
            yield f"  {one['not_ended']}"
        model = " at ".join(one[key] for key in ("model", "revision") if one[key])
        told = [
            f"model {model}" if model else "",
            f"prompt {one['prompt']}" if one["prompt"] else "",
        ]
        if any(told):
            yield f"  {', '.join(t for t in told if t)}"
        if one["runs"]:
            first = f"first {one['first_run']}, " if one["runs"] > 1 else ""
            yield f"  {counted(one['runs'], 'run')}: {first}last {one['last_run']}"
        for made in one["sets"]:
            yield f"  in {made}"
    if content["not_made"]:
        yield f"not made yet: {', '.join(content['not_made'])}"
    yield from without_lines(content["left_out"])
