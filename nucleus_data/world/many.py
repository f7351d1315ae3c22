"""Corpora of very many small image shards, for tests and benches of what grows with the shards.

One shard is made by the stages themselves; the others are copies of its parts, with other numbers
and other ids. Tars are not copied: nothing that plans or counts reads one.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.damaged import PUBLISHED
from nucleus_data.corpus.parts import encode_part, own_footer

IDS = ("id", "other_id", "duplicate_of")
SHARDS = ("shard", "other_shard")
ID_DIGITS = 8  # of a copy's id: the number of its shard


def copy_parts(
    source: str, target: Corpus, folder: str, shards: Iterable[int], **keys: str
) -> None:
    """Copies the parts of image shard 0 in a folder, once for each number.

    Args:
        source: Path of the local folder that holds them.
        target: A local corpus.
        folder: Path below it that the copies go to, for example `claims`.
        shards: The numbers that copies get.
        keys: Of the copies' footers, where they are others: `config_hash`.
    """
    parts = []
    for file in sorted(Path(source).glob("000000*.parquet")):
        table = pq.read_table(file)
        parts.append((file.name.removeprefix("000000"), table, own_footer(table.schema)))
    there = Path(target.store.path(folder))
    if parts:
        there.mkdir(parents=True, exist_ok=True)
    for shard in shards:
        for rest, table, footer in parts:
            content = {**footer, **keys}
            if "shard" in footer:
                content["shard"] = str(shard)
            data = encode_part(_renamed(table, shard), content)
            (there / f"{shard:06d}{rest}").write_bytes(data)


def copy_published(source: str, target: Corpus, folder: str, times: int) -> None:
    """Copies what says that a corpus-wide table is complete, with its sums so many times as large.

    Args:
        source: Path of the local folder that it is in.
        target: A local corpus.
        folder: Path below it.
        times: What each sum is multiplied by.
    """
    content = json.loads(Path(source, PUBLISHED).read_bytes())
    data = json.dumps(_multiplied(content, times), sort_keys=True).encode()
    target.store.put(f"{folder}/{PUBLISHED}", data)


def _multiplied(content: object, times: int) -> object:
    if isinstance(content, Mapping):
        return {name: _multiplied(value, times) for name, value in content.items()}
    return content * times if isinstance(content, int) else content


def _renamed(table: pa.Table, shard: int) -> pa.Table:
    """A shard's rows as those of another one."""
    for name in IDS:
        if name in table.column_names:
            column = table.column(name)
            rest = pc.utf8_slice_codeunits(column, ID_DIGITS)
            new = pc.binary_join_element_wise(f"{shard:0{ID_DIGITS}x}", rest, "")
            table = table.set_column(table.column_names.index(name), table.field(name), new)
    for name in SHARDS:
        if name in table.column_names:
            new = pa.array([shard] * table.num_rows, table.field(name).type)
            table = table.set_column(table.column_names.index(name), table.field(name), new)
    return table
