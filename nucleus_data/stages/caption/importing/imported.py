"""Imports captions from files, as a caption table named by the hash of its content.

Rows are spooled to a Parquet file, joined with the records by DuckDB, which spills to disk, and
written shard by shard. Each row ends in one state:

| state | meaning |
|---|---|
| `matched` | the caption of a record, or of several with this URL |
| `unmatched` | no record has this id, key or URL |
| `ambiguous` | records of several sources have this key: choose with `--source` |
| `doubled` | an earlier row refers to the same record |
| `no_picture` | the record has no picture |
| `no_name`, `empty`, `not_text`, `too_long` | no id, key or URL, or no valid caption |
| `unreadable` | the row is damaged |

The table's hash covers the files' content and how they are read. A killed import is continued by
the same command, with the same bytes.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nucleus_data.config import nearest
from nucleus_data.corpus import Corpus
from nucleus_data.corpus.caption_sets import (
    IMPORT,
    PREFIX,
    SOURCE,
    CaptionSet,
    folder_of,
    is_import,
    there,
)
from nucleus_data.corpus.published import publish
from nucleus_data.corpus.tables import table_schema
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.printed import counted
from nucleus_data.stages.caption.importing.files import (
    Mapping,
    SourceFile,
    choose_columns,
    find_files,
)
from nucleus_data.stages.caption.importing.join import (
    URL,
    classify,
    connect,
    counts_by_state,
    matched,
    spool,
)
from nucleus_data.stages.caption.stage import SCHEMA

VERSION = 1
IMPORTED = "imported"  # a caption's `source`
BATCH = 10_000
ADVICE = {
    "unmatched": "names must be those of records, as shown by `nucleus export` and `explain`",
    "ambiguous": "records of several sources have this key: choose one with --source NAME",
    "doubled": "an earlier row names the same record, and the first one is used",
    "no_picture": "the record failed, so nothing is trained on it",
}


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and how to read it.

    Attributes:
        files: The files.
        mapping: The columns to read.
        name: Name of the caption set.
        source: Ingest source whose records to match; None for all.
        about: Provenance of the captions: `model`, `revision`, `prompt`.
    """

    files: Sequence[SourceFile]
    mapping: Mapping
    name: str
    source: str | None = None
    about: dict[str, str | None] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Returns the hashed content: that of the files, and how they are read."""
        several = len(self.files) > 1
        return {
            "table": PREFIX + self.name,
            "version": VERSION,
            "files": [
                # File names only matter if there are several, as they determine the order.
                {"name": file.name if several else "", "sha256": file.sha256()}
                for file in self.files
            ],
            "mapping": asdict(self.mapping),
            "source": self.source,
            "about": {key: value for key, value in sorted(self.about.items()) if value},
        }


def plan_import(
    source: str,
    name: str,
    variants: Sequence[str],
    corpus: Corpus,
    *,
    columns: dict[str, str | None],
    caption: str | None = None,
    only: str | None = None,
    about: dict[str, str | None] | None = None,
) -> ImportRequest:
    """Finds the files, and decides how to read them.

    Args:
        source: A path or URL.
        name: Name of the caption set.
        variants: The recipe's variants, whose names are taken.
        corpus: The corpus.
        columns: `id`, `key`, `url` -> column given by the user, if any.
        caption: Column with the captions, if given by the user.
        only: Ingest source whose records to match; None for all.
        about: Provenance of the captions.

    Raises:
        RequestError: The name is taken or invalid, or the files can't be read.
    """
    check_name(name, variants, corpus)
    files = find_files(source)
    mapping = choose_columns(files, columns, caption)
    return ImportRequest(files, mapping, name, only, about or {})


def check_name(name: str, variants: Sequence[str], corpus: Corpus) -> None:
    """Refuses an invalid name, or that of generated captions. Raises RequestError."""
    if not name.isidentifier() or not name.islower():
        raise RequestError(
            f"--as {name!r}: a name begins with a lowercase letter or _, and contains only these "
            "and digits"
        )
    advice = f"choose another name, for example --as {name}_imported"
    if name == SOURCE:
        raise RequestError(f"--as {name}: this is the name of the upstream captions; {advice}")
    if name in variants:
        raise RequestError(f"--as {name}: the recipe has a variant with this name; {advice}")
    made = [s for s in there(corpus.store) if s.variant == name and not is_import(corpus.store, s)]
    if made:
        raise RequestError(f"--as {name}: {made[0].name} was generated by a variant; {advice}")


def import_captions(
    corpus: Corpus, request: ImportRequest, *, dry_run: bool = False
) -> dict[str, Any]:
    """Reads files, joins them with the records, and writes the caption table.

    Args:
        corpus: The corpus.
        request: What is imported.
        dry_run: Whether to only count, and write nothing.

    Returns:
        `name`, `config_hash`, `rows` of the files, `captions` of records (one each), `shards`, and
        `states` with the number of rows and examples of each state.

    Raises:
        RequestError: A file is damaged, or no row matches a record.
    """
    if not corpus.records.whole_parts():
        raise RequestError(f"{corpus.uri} has no records yet; run: {told('ingest', corpus.uri)}")
    _check_source(corpus, request.source)
    identity = request.identity()
    caption_set = CaptionSet(request.name, config_hash(identity))
    others = {s.name for s in there(corpus.store) if s.variant == request.name} - {caption_set.name}
    content: dict[str, Any] = {
        "name": request.name,
        "set": caption_set.name,
        "other_sets": sorted(others),
        "config_hash": caption_set.config_hash,
        "files": len(request.files),
        "mapping": asdict(request.mapping),
    }
    with tempfile.TemporaryDirectory(prefix="nucleus-") as temporary:
        folder = Path(temporary)
        spooled = folder / "rows.parquet"
        total = spool(request.files, request.mapping, spooled)
        with connect(folder) as connection:
            if not corpus.store.local:
                connection.register_filesystem(corpus.store.fs)
            classify(connection, spooled, corpus, request.mapping.by, request.source)
            states = counts_by_state(connection)
            assert total == sum(state["rows"] for state in states.values()), "a row in one state"
            content |= {"rows": total, "states": states}
            if not states.get("matched", {}).get("rows"):
                raise RequestError(_nothing(corpus, request, content))
            batches = matched(connection, spooled, BATCH)
            written = _write(batches, corpus, caption_set, request, identity, dry_run)
            content |= {"captions": written[0], "shards": written[1]}
    return content


def _write(
    batches: Iterator[pa.RecordBatch],
    corpus: Corpus,
    caption_set: CaptionSet,
    request: ImportRequest,
    identity: dict[str, Any],
    dry_run: bool,
) -> tuple[int, int]:
    """Writes the table, one part per shard, unless dry; returns the numbers of captions, shards."""
    table, folder = corpus.at(caption_set.table, caption_set.config_hash), folder_of(caption_set)
    text = json.dumps(identity, sort_keys=True).encode()
    if not dry_run:
        corpus.store.sweep(folder)
        corpus.store.create(f"{folder}/{IMPORT}", text)
    captions = shards = 0
    for shard, rows in _by_shard(batches):
        captions, shards = captions + rows.num_rows, shards + 1
        if not dry_run:
            table.append(shard, _part(rows, request), {})
    if not dry_run:
        publish(corpus.store, folder, identity)
    return captions, shards


def _by_shard(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    """Regroups batches of rows, sorted by shard and row, into one table per shard."""
    held: list[pa.RecordBatch] = []
    now = -1
    for batch in batches:
        shards = batch.column("shard").to_numpy()
        start = 0
        while start < len(shards):
            if shards[start] != now:
                if held:
                    yield now, pa.Table.from_batches(held)
                held, now = [], int(shards[start])
            end = int(shards.searchsorted(now, side="right"))
            held.append(batch.slice(start, end - start))
            start = end
    if held:
        yield now, pa.Table.from_batches(held)


def _part(rows: pa.Table, request: ImportRequest) -> pa.Table:
    """Converts a shard's rows to the schema of caption tables."""
    schema = table_schema(SCHEMA)
    known = {**request.about, "source": IMPORTED}

    def column(name: str, kind: pa.DataType) -> Any:
        if name in rows.column_names:
            return rows.column(name).cast(kind)
        value = known.get(name)
        count = rows.num_rows
        return pa.nulls(count, kind) if value is None else pa.repeat(pa.scalar(value, kind), count)

    columns = [column(field.name, field.type) for field in schema]
    return pa.table(columns, schema=schema).combine_chunks()


def _nothing(corpus: Corpus, request: ImportRequest, content: dict[str, Any]) -> str:
    """Returns the error message if no row matches a record."""
    by, column = request.mapping.by, request.mapping.name
    lines = [
        f"none of the {content['rows']:,} rows of {request.files[0].name} gives a caption of a "
        f"record; names were taken from column {column!r} ({by}), captions from "
        f"{request.mapping.caption!r}",
        *import_lines({**content, "captions": 0}, head=False),
    ]
    names = [e["name"] for e in content["states"].get("unmatched", {}).get("examples", [])]
    if names:
        records = corpus.connection().sql(f"SELECT * FROM {corpus.records.sql()}")
        column, first = ("id" if by == "id" else "key"), ""
        if by == "url" and URL in records.columns:
            column, first = f'coalesce(CAST("{URL}" AS VARCHAR), key)', f'"{URL}" IS NULL, '
        held = records.order(f"{first}{column}").project(column).limit(3)
        lines += [
            f"names in the file: {', '.join(map(repr, names))}",
            f"in the corpus: {', '.join(repr(row[0]) for row in held.fetchall()) or 'no records'}",
        ]
    return "\n".join(lines)


def _check_source(corpus: Corpus, source: str | None) -> None:
    """Refuses an ingest source that no record has. Raises RequestError."""
    if source is None:
        return
    found = corpus.connection().sql(
        f"SELECT DISTINCT source FROM {corpus.records.sql()} ORDER BY 1"
    )
    known = [name for (name,) in found.fetchall()]
    if source not in known:
        raise RequestError(
            f"--source {source!r}: no record has this source.{nearest(source, known)} Available: "
            f"{', '.join(known)}"
        )


def import_lines(content: dict[str, Any], *, head: bool = True) -> Iterator[str]:
    """Yields lines for people about the states of the rows."""
    if head:
        mapping, captions = content["mapping"], content["captions"]
        matches = content["states"]["matched"]["rows"]
        more = ", as several have the same URL" if captions > matches else ""
        yield (
            f"{matches:,} of {counted(content['rows'], 'row')} matched by {mapping['by']} in "
            f"column {mapping['name']!r}; captions in {mapping['caption']!r}, for "
            f"{counted(captions, 'record')} in {counted(content['shards'], 'shard')}{more}"
        )
    for state, counts in content["states"].items():
        if state == "matched":
            continue
        advice = f" ({ADVICE[state]})" if state in ADVICE else ""
        yield f"  {counted(counts['rows'], 'row')}: {state.replace('_', ' ')}{advice}"
        for example in counts["examples"]:
            detail = f": {example['detail']}" if example["detail"] else ""
            name = f" {example['name']!r}" if example["name"] is not None else ""
            yield f"    {example['file']} row {example['line']}{name}{detail}"
