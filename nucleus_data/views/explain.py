"""`nucleus explain`: everything that a corpus stores about one record.

Finding a record by its id reads the ids of all records, and of all indexes of training sets. Ids
are hashes (`hashing.record_id`), and records are in the order of their source, so the minimum and
maximum id of a row group exclude nothing. `@SHARD/ROW` finds the record without this search.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import PREFIX, SOURCE, CaptionSet
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.looking import going_without, without_lines
from nucleus_data.corpus.tables import Table, parts_list
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.printed import jsonable, text_of, visible
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import SetFolder, published_sets
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.ingest.listing.pairing import printable
from nucleus_data.views.pairs_of import pairs_of
from nucleus_data.views.survivor import survivor

SHOWN_NUMBERS = 4
SHOWN_FOUND = 5
SHOWN_CHARACTERS = 300
UNITS = {"distance": " of 64 bits", "distance256": " of 256 bits"}
HEX = set("0123456789abcdef")
PLACE = re.compile(r"@(\d{1,9})/(\d{1,9})")
# Columns of `records` by whose values a user may name a record.
NAMES = ("key", "file", "source.url")


def explain(corpus: Corpus, name: str) -> dict[str, Any]:
    """Returns a record's story: its state, then the rows of all tables about it.

    Damaged files are left out, and listed under `left out`.

    Args:
        corpus: The corpus.
        name: A unique prefix of the record's id; or its key, the file name at the key's end, its
            file in the corpus, or its URL; or its place `@SHARD/ROW`, which needs no search. Bytes
            that are not UTF-8 may be escaped as in `sys.argv`.

    Raises:
        RequestError: No record has this name, or several do.
    """
    return going_without(corpus, lambda readable: _story(readable, printable(name)))


def _story(corpus: Corpus, name: str) -> dict[str, Any]:
    record = _record(corpus, name)
    story: dict[str, Any] = {
        "state": {},
        "record": {k: v for k, v in record.items() if v is not None},
        "captions": {},
    }
    for table in corpus.store.list("tables"):
        if table in ("records", PAIRS):
            continue
        for hashed in corpus.config_hashes(table):
            rows = _rows(Table(corpus.store, table, hashed), record)
            if rows:
                story[f"{table}/{hashed}"] = rows[0]
    story["captions"] = _captions(record, story)
    story["earlier downloads"] = _earlier(corpus, record)
    story["duplicates"] = pairs_of(corpus, record)
    story["training sets"] = _places(corpus, record["id"])
    story["state"] = _state(corpus, record, story)
    story["left out"] = [error.content() for error in corpus.left_out]
    return story


def _record(corpus: Corpus, name: str) -> dict[str, Any]:
    """Finds a record by name. Raises RequestError if there is none, or several."""
    if not corpus.records.whole_parts():
        raise RequestError(f"{corpus.uri} has no records yet, or none of them can be read")
    if place := PLACE.fullmatch(name):
        return _at(corpus, *map(int, place.groups()))
    records = corpus.rows(corpus.records)
    begins = duckdb.FunctionExpression(
        "starts_with", duckdb.ColumnExpression("id"), duckdb.ConstantExpression(name.lower())
    )
    found = _few(records, begins) if name and not set(name.lower()) - HEX else []
    what = "begins with id"
    if not found and name:
        found, what = _few(records, _called(records.columns, name)), "is called"
    if len(found) == 1:
        return found[0]
    if not found:
        raise RequestError(
            f"no record has an id that begins with {name!r}, or this key, file name or URL; ids "
            "are 32 hex digits, as in the table `records`"
            + "".join(f"\nleft out: {error}" for error in corpus.left_out)
        )
    more = ", ..." if len(found) > SHOWN_FOUND else ""
    some = ", ".join(f"{one['id']} ({one['key']!r})" for one in found[:SHOWN_FOUND])
    verb = what.replace("begins", "begin").replace("is called", "are called")
    raise RequestError(f"several records {verb} {name!r}; give the id of one: {some}{more}")


def _at(corpus: Corpus, shard: int, row: int) -> dict[str, Any]:
    """Returns the record at a place, reading only its shard. Raises RequestError."""
    rows = corpus.records.read(shard)
    mine = rows.filter(pc.equal(rows.column("row"), row)).to_pylist() if rows is not None else []
    if not mine:
        raise RequestError(f"image shard {shard:06d} has no record in row {row}")
    found: dict[str, Any] = mine[0]
    return found


def _few(records: duckdb.DuckDBPyRelation, condition: duckdb.Expression) -> list[dict[str, Any]]:
    found = records.filter(condition).order("shard, row").limit(SHOWN_FOUND + 1)
    rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return rows


def _called(columns: Sequence[str], name: str) -> duckdb.Expression:
    """Returns the condition that a record has this key, file, URL, or file name in its key."""
    value, key = duckdb.ConstantExpression(name), duckdb.ColumnExpression("key")
    end = duckdb.ConstantExpression(f"/{name}")
    condition = duckdb.FunctionExpression("ends_with", key, end)
    for column in NAMES:
        if column in columns:
            text = duckdb.ColumnExpression(column).cast("VARCHAR")
            condition = condition | (text == value)
    return condition


def _captions(record: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, str]:
    """Returns caption set -> the record's caption, or why it failed."""
    found: dict[str, str] = {}
    if record.get("source.caption"):
        found[SOURCE] = str(record["source.caption"])
    for part, row in story.items():
        table, _, hashed = part.partition("/")
        if table.startswith(PREFIX):
            name = CaptionSet(table.removeprefix(PREFIX), hashed, plain=False).name
            why = row.get("error") or row.get("reason")
            found[name] = row.get("caption") or f"(none: {why})"
    return found


def _state(corpus: Corpus, record: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record's state and its reasons, by the selection that the newest run used."""
    try:
        decision = story.get(f"selection/{corpus.pinned('selection')}")
    except RequestError:
        decision = None
    if decision is None:
        error = record.get("error")
        if not error:
            return {"state": "not decided yet"}
        return {"state": "failed", "reasons": [error], **_why([record], [error])}
    found = {"state": decision["state"]}
    for name in ("reasons", "conditions", "pending_on", "tier", "curriculum"):
        if decision.get(name):
            found[name] = decision[name]
    if decision["state"] == "failed":
        rows = [row for row in story.values() if isinstance(row, Mapping)]
        found |= _why(rows, decision["reasons"])
    if kept := decision.get("duplicate_of"):
        found |= {"duplicate_of": kept, **survivor(corpus, record, kept, story["duplicates"])}
    return found


def _why(rows: Sequence[Mapping[str, Any]], reasons: Sequence[str]) -> dict[str, list[str]]:
    """Returns the distinct details of failures with these reasons."""
    failed = ((row.get("error") or row.get("reason"), row.get("detail")) for row in rows)
    found = dict.fromkeys(f"{why}: {detail}" for why, detail in failed if why in reasons and detail)
    return {"why": list(found)} if found else {}


def explain_lines(story: dict[str, Any]) -> Iterator[str]:
    """Yields the story as lines for people."""
    for part, content in story.items():
        if not content or part == "left out":
            continue
        yield visible(part)
        for item in content if isinstance(content, list) else [content]:
            failed = bool(item.get("error"))
            for key, value in item.items():
                if failed and value is None:  # no value of a table that failed says anything
                    continue
                if key not in ("shard", "row", "id") or part in ("record", "duplicates"):
                    unit = UNITS.get(key, "") if value is not None else ""
                    yield f"  {visible(key):<22} {_shown(value)}{unit}"
    yield from without_lines(story["left out"])


def _shown(value: Any) -> str:
    """Formats a value on one line; a long one is cut, with its length (`--json` shows all)."""
    if isinstance(value, bytes):
        value = text_of(value)
    if isinstance(value, str):
        return _cut(visible(value))
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > SHOWN_NUMBERS and isinstance(value[0], float):
        first = ", ".join(f"{number:.4g}" for number in value[:SHOWN_NUMBERS])
        return f"[{first}, ...] ({len(value)} numbers)"
    return _cut(visible(json.dumps(jsonable(value), ensure_ascii=False)))


def _cut(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}... ({len(text):,} characters)"


def _rows(table: Table, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a table's row about a record, or its retryable failure; at most one row."""
    for source, kind in ((table, None), (table.failed, "failed, retryable")):
        rows = source.read(record["shard"])
        if rows is None:
            continue
        mine = rows.filter(pc.equal(rows.column("row"), record["row"])).to_pylist()
        if mine:
            return [{**mine[0], "state": kind} if kind else mine[0]]
    return []


def _earlier(corpus: Corpus, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the record's superseded failed downloads, oldest first."""
    retried = corpus.records.retried
    if not retried.whole_parts():
        return []
    # Marks are stored under the shard of the failed record, so all of them are searched by id.
    marks = corpus.connection().sql(
        f"SELECT DISTINCT shard FROM {retried.sql()} WHERE id = '{record['id']}'"
    )
    shards = {shard for (shard,) in marks.fetchall()} - {record["shard"]}
    found: list[dict[str, Any]] = []
    for shard in sorted(shards):
        rows = Table.read(corpus.records, shard, ["shard", "row", "id", "error", "detail"])
        if rows is not None:
            mine = rows.filter(pc.equal(rows.column("id"), record["id"]))
            found += mine.drop_columns(["id"]).to_pylist()
    return found


def _places(corpus: Corpus, record_id: str) -> list[dict[str, Any]]:
    """Returns the training sets that contain a record, with its captions in each edition."""
    places = []
    for folder in published_sets(corpus.store):
        try:
            tars = _tars_with(corpus, folder, record_id)
        except DamagedError:
            raise
        except CorpusError:  # of an older layout, which has no indexes
            continue
        for tar in tars:
            place = {"set": folder.path, "tar": tar}
            for edition in folder.editions():
                if edition.file(tar) in corpus.store.left_out:
                    continue
                rows = edition.captions(tar)
                (mine,) = rows.filter(pc.equal(rows.column("id"), record_id)).to_pylist()
                places.append({**place, "edition": edition.hash, **mine})
            if not folder.editions():
                places.append(place)
    for place in places:
        place.pop("id", None)
    return places


def _tars_with(corpus: Corpus, folder: SetFolder, record_id: str) -> list[str]:
    """Returns the tars of a set that contain a record, by their indexes."""
    gone = corpus.store.left_out
    paths = (entry.path for entry in folder.manifest())
    tars = [path for path in paths if folder.name(index_name(path)) not in gone]
    if not tars:
        return []
    urls = parts_list(folder.url(index_name(tar)) for tar in tars)
    rows = corpus.connection().sql(
        f"SELECT filename FROM read_parquet({urls}, filename = true) WHERE id = '{record_id}'"
    )
    found = {name for (name,) in rows.fetchall()}
    return [tar for tar in tars if any(n.endswith("/" + index_name(tar)) for n in found)]
