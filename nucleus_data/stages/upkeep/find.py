"""Finds the records of a takedown: those that match the request, and all with the same bytes."""

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import BlockList
from nucleus_data.corpus.tables import parts_sql
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.confirm import confirm
from nucleus_data.stages.dedup.gather import READS
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.request import Like, Request

# With more hosts, each URL is looked up in the block list, as comparing it with each host would
# take longer.
FEW_HOSTS = 100
BATCH = 10_000
URLS = ("source.url", "source.final_url")
FOUND_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("url", pa.string()),
        ("final_url", pa.string()),
        ("error", pa.string()),
    ]
)


def find_records(
    corpus: Corpus, request: Request, dedup: DedupSettings, tables: Mapping[str, str]
) -> pa.Table:
    """Finds the records that match a request, and those with the same bytes as one of them.

    Superseded records (failed downloads that were retried) are included, as they have a URL.

    Args:
        corpus: The corpus.
        request: The request.
        dedup: Settings that define near duplicates.
        tables: Table -> config hash, of the tables that `dedup` compares; for `request.like`.

    Returns:
        The distinct records, with the schema `FOUND_SCHEMA`, sorted by shard and row.

    Raises:
        RequestError: Near duplicates are requested, but no picture has been measured yet.
    """
    if not corpus.records.part_names():
        return FOUND_SCHEMA.empty_table()
    source = _Records(corpus)
    found = [source.among("id", request.ids), source.among("sha256", request.sha256)]
    found.append(source.at(request))
    if request.like:
        found.append(source.among("sha256", [one.sha256 for one in request.like]))
        found.append(source.of_ids(_near(corpus, request.like, dedup, tables)))
    first = pa.concat_tables(found)
    # Records with the same bytes are the same picture, which would otherwise still be present.
    digests = first.column("sha256").drop_null().unique().to_pylist()
    whole = pa.concat_tables([first, source.among("sha256", digests)])
    places = whole["shard"].to_numpy().astype(np.int64) << 32 | whole["row"].to_numpy()
    _, index = np.unique(places, return_index=True)
    return whole.take(pa.array(index)).combine_chunks()


class _Records:
    """Queries on all parts of the table `records`."""

    def __init__(self, corpus: Corpus) -> None:
        self.connection = corpus.connection()
        self.source = parts_sql(corpus.store, corpus.records.folder)
        existing = set(self.connection.sql(f"SELECT * FROM {self.source} LIMIT 0").columns)
        self.urls = [f'"{name}"' for name in URLS if name in existing]
        named = [f'"{n}"::VARCHAR' if n in existing else "NULL::VARCHAR" for n in URLS]
        self.columns = (
            f'shard, row, id, "offset", size, sha256, {named[0]} AS url, '
            f"{named[1]} AS final_url, error"
        )

    def among(self, column: str, values: Iterable[str]) -> pa.Table:
        """Returns the records with any of some values in a column."""
        wanted = pa.table({"wanted": pa.array(sorted(set(values)), pa.string())})
        if not len(wanted):
            return FOUND_SCHEMA.empty_table()
        self.connection.register("takedown_wanted", wanted)
        return self._where(f"{column} IN (SELECT wanted FROM takedown_wanted)")

    def of_ids(self, ids: Iterable[str]) -> pa.Table:
        """Returns the records with some ids."""
        return self.among("id", ids)

    def at(self, request: Request) -> pa.Table:
        """Returns the records whose URL, before or after redirects, matches the request."""
        asked = [*request.hosts, *(url.partition("/")[0].partition(":")[0] for url in request.urls)]
        if not asked or not self.urls:
            return FOUND_SCHEMA.empty_table()
        matcher = request.matcher()
        if len(asked) > FEW_HOSTS:
            has_url = " OR ".join(f"{url} IS NOT NULL" for url in self.urls)
            reader = self._query(has_url).to_arrow_reader(BATCH)
            found = [_meant(matcher, pa.Table.from_batches([rows])) for rows in reader]
            return pa.concat_tables([FOUND_SCHEMA.empty_table(), *found])
        # Preselect URLs that contain a host; the block list then decides which ones match.
        spelled = {host for name in asked for host in (name, _unicode(name))}
        hosts = pa.table({"host": pa.array(sorted(spelled), pa.string())})
        self.connection.register("takedown_hosts", hosts)
        near = " OR ".join(f"contains(lower({url}::VARCHAR), h.host)" for url in self.urls)
        return _meant(matcher, self._where(f"EXISTS (SELECT 1 FROM takedown_hosts h WHERE {near})"))

    def _where(self, condition: str) -> pa.Table:
        return self._query(condition).to_arrow_table().cast(FOUND_SCHEMA)

    def _query(self, condition: str) -> duckdb.DuckDBPyRelation:
        return self.connection.sql(f"SELECT {self.columns} FROM {self.source} r WHERE {condition}")


def _meant(matcher: BlockList, rows: pa.Table) -> pa.Table:
    """Returns the rows whose URL, before or after redirects, is on a block list."""
    urls = zip(rows["url"].to_pylist(), rows["final_url"].to_pylist(), strict=True)
    meant = [any(matcher.of_url(url) is not None for url in both) for both in urls]
    return rows.filter(pa.array(meant, pa.bool_())).cast(FOUND_SCHEMA)


def _near(
    corpus: Corpus, pictures: Iterable[Like], dedup: DedupSettings, tables: Mapping[str, str]
) -> list[str]:
    """Returns the ids of the near duplicates of some pictures, by the criteria of `dedup`."""
    sources: list[tuple[str, str]] = []
    columns: dict[str, str] = {}
    for name, read in READS[dedup.hashes].items():
        if name not in tables or not corpus.at(name, tables[name]).part_names():
            raise RequestError(
                f"--like needs the table {name}, but nothing of {corpus.uri} is in it yet; "
                f"run: {told('inspect', corpus.uri)}"
            )
        folder = corpus.at(name, tables[name]).folder
        sources.append((f"t{len(sources)}", parts_sql(corpus.store, folder)))
        columns |= {what: f'{sources[-1][0]}."{column}"' for what, column in read.items()}
    joined = f"{sources[0][1]} {sources[0][0]}" + "".join(
        f" JOIN {sql} {name} USING (shard, row, id)" for name, sql in sources[1:]
    )
    listed = ", ".join(f"{sql} AS {what}" for what, sql in columns.items())
    found: set[str] = set()
    for one in pictures:
        rows = (
            corpus.connection()
            .sql(
                f"SELECT id, {listed} FROM {joined} WHERE "
                f"bit_count(xor({columns['phash']}, {one.phash}::UBIGINT)) <= {dedup.distance}"
            )
            .to_arrow_table()
        )
        found |= set(rows.filter(pa.array(_confirmed(one, rows, dedup)))["id"].to_pylist())
    return sorted(found)


def _confirmed(one: Like, rows: pa.Table, dedup: DedupSettings) -> list[bool]:
    count = rows.num_rows
    if not count:
        return []
    words = b"".join(rows["hash256"].to_pylist())
    other = np.frombuffer(words, ">u8").astype(np.uint64).reshape(count, 4)
    own = np.frombuffer(bytes.fromhex(one.hash256), ">u8").astype(np.uint64)
    sizes = np.stack([rows[name].to_numpy() for name in ("width", "height")], 1).astype(np.int64)
    counts, _, _ = confirm(
        np.repeat(own[None], count, 0),
        other,
        np.repeat(np.array([[one.width, one.height]], np.int64), count, 0),
        sizes,
        hash256_limit=dedup.hash256_distance,
        aspect_tolerance=dedup.aspect_tolerance,
    )
    found: list[bool] = counts.tolist()
    return found


def _unicode(host: str) -> Any:
    try:
        return host.encode().decode("idna")
    except UnicodeError:
        return host
