"""Counts in how many image shards of an ingest each registered domain of a URL list occurs.

Request limits of a host hold for all workers together. A claim stores this count for each row: at
most so many workers divide the domain's limits among them. So a domain that occurs in one shard
only gets its full rate.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.domains import registered_domain
from nucleus_data.errors import RequestError
from nucleus_data.printed import counted
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.http.agent import MOST_HOSTS
from nucleus_data.stages.ingest.listing.spool import BATCH

COLUMN = "domain_shards"
_BEFORE = "^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?"
_HOST = f"lower(regexp_extract(url, '{_BEFORE}(\\[[^]]*\\]|[^/:?#]*)', 1))"
_SCHEMA = pa.schema([("host", pa.string()), ("domain", pa.string())])


@dataclass(frozen=True)
class Spread:
    """The rows of a URL list with the counts.

    Attributes:
        rows: Parquet file of the rows, in order, with the column `domain_shards`.
        hosts: Number of distinct hosts.
        domains: Number of distinct registered domains.
    """

    rows: Path
    hosts: int
    domains: int

    def note(self) -> str:
        """Returns the numbers of hosts and domains, in words."""
        domains = counted(self.domains, "registered domain")
        return f"{counted(self.hosts, 'host')} of {domains} to contact"

    def check_contact(self, contact: str | None) -> None:
        """Raises RequestError if there are many hosts, and no contact for their owners is set."""
        if self.hosts > MOST_HOSTS and contact is None:
            raise RequestError(
                f"the list has {counted(self.hosts, 'host')}; for more than {MOST_HOSTS:,}, give "
                "an address "
                "where their owners can reach you, which is sent in the user agent: set "
                "ingest.contact=you@example.org or ingest.contact=https://example.org/about"
            )


def spread(
    rows: Path, images_per_shard: int, folder: Path, connection: duckdb.DuckDBPyConnection
) -> Spread:
    """Counts hosts and domains of new rows, and adds the column `domain_shards`.

    Args:
        rows: Parquet file of the rows, in order, with `url` and `position`.
        images_per_shard: Number of rows per image shard.
        folder: For temporary files.
        connection: DuckDB.
    """
    source = f"read_parquet({literal(str(rows))})"
    names = folder / "domains.parquet"
    asked = connection.execute(
        f"SELECT DISTINCT {_HOST} AS host FROM {source} WHERE url IS NOT NULL"
    )
    hosts = 0
    domains: set[int] = set()
    with pq.ParquetWriter(names, _SCHEMA) as writer:
        while batch := asked.fetchmany(BATCH):
            known = [host for (host,) in batch if host]
            found = [registered_domain(host) for host in known]
            hosts += len(known)
            domains.update(map(hash, found))
            writer.write_table(pa.table([known, found], _SCHEMA))
    target, shards = folder / "spread.parquet", folder / "shards.parquet"
    domains_of = f"read_parquet({literal(str(names))})"
    parts, counts = folder / "parts.parquet", folder / "counts.parquet"
    # One grouping per statement, so that each can use all of the memory.
    for query, result in (
        (
            f"SELECT DISTINCT n.domain, r.part FROM (SELECT {_HOST} AS host, "
            f"file_row_number // {images_per_shard} AS part "
            f"FROM read_parquet({literal(str(rows))}, file_row_number = true)) r "
            f"JOIN {domains_of} n USING (host)",
            parts,
        ),
        (
            f"SELECT domain, CAST(count(*) AS INTEGER) AS {COLUMN} "
            f"FROM read_parquet({literal(str(parts))}) GROUP BY domain",
            counts,
        ),
        (
            f"SELECT n.host, s.{COLUMN} FROM {domains_of} n "
            f"JOIN read_parquet({literal(str(counts))}) s USING (domain)",
            shards,
        ),
    ):
        connection.execute(f"COPY ({query}) TO {literal(str(result))} (FORMAT parquet)")
    connection.execute(
        f"COPY (SELECT r.*, s.{COLUMN} FROM {source} r LEFT JOIN "
        f"read_parquet({literal(str(shards))}) s ON s.host = {_HOST} "
        f"ORDER BY position) TO {literal(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
    )
    return Spread(target, hosts, len(domains))
