"""Which records of a shard a row stage works on, and which rows its tables lack."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import WORKED_ON
from nucleus_data.corpus.tables import Table
from nucleus_data.corpus.told import command as told
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.hashing import sample_unit

RECORD_COLUMNS = ["shard", "row", "id", "file", "offset", "size", "sha256", "error"]


def chosen_records(corpus: Corpus, shard: int, selection: Table | None, sample: float) -> pa.Table:
    """The shard's records with an image that a stage works on, sorted by row.

    Args:
        corpus: The corpus.
        shard: Its number.
        selection: The ledger, of a stage that works on what is kept or pending in it.
        sample: Share of the records.

    Raises:
        CorpusError: The shard has no records.
        RequestError: The selection has none of them.
    """
    records = corpus.records.read(shard, RECORD_COLUMNS)
    if records is None:
        raise CorpusError(f"shard {shard} has no records")
    chosen = records.filter(pc.is_null(records.column("error")))
    if selection is not None:
        states = selection.read(shard, ["row", "state"])
        if states is None:
            raise RequestError(
                f"the selection has no rows of shard {shard}; run: {told('select', corpus.uri)}"
            )
        wanted = pc.is_in(states.column("state"), pa.array(WORKED_ON))
        kept = states.filter(wanted).column("row")
        chosen = chosen.filter(pc.is_in(chosen.column("row"), kept.combine_chunks()))
    return sample_rows(chosen, sample)


def lacking_rows(
    corpus: Corpus,
    target: Table,
    shard: int,
    due: np.ndarray,
    *,
    retry: bool,
    repeated: Collection[str] = (),
) -> np.ndarray:
    """Those due rows that a table lacks; of a retry, those that failed in a way that may pass.

    Args:
        corpus: The corpus.
        target: The table.
        shard: The shard's number.
        due: The rows that it is asked about.
        retry: Only what failed before.
        repeated: Reasons for which a retry does not ask again.
    """
    if retry:
        return np.intersect1d(due, passing_rows(target, shard, repeated))
    failed = corpus.failed_rows(target, shard)
    # What failed for now counts as done until `nucleus retry`: a run that is started again does not
    # kill a worker on the same image.
    return np.setdiff1d(due, np.union1d(target.covered(shard), failed))


def passing_rows(
    target: Table, shard: int, repeated: Collection[str] = (), *, those: bool = False
) -> np.ndarray:
    """Rows that failed in a way that may pass, and have no value since.

    Args:
        target: The table.
        shard: The shard's number.
        repeated: Reasons that are left out.
        those: Take these reasons alone, in place of leaving them out.
    """
    failed = target.failed.read(shard, ["row", "reason"])
    if failed is None:
        return np.empty(0, np.int64)
    again = pc.is_in(failed.column("reason"), pa.array(sorted(repeated), pa.string()))
    failed = failed.filter(again if those else pc.invert(again))
    return np.setdiff1d(failed.column("row").to_numpy(), target.covered(shard))


def sample_rows(rows: pa.Table, sample: float) -> pa.Table:
    """The rows whose keyed hash of `id` falls below `sample`; the same ones in every run."""
    if sample >= 1.0:
        return rows
    ids = rows.column("id").to_pylist()
    return rows.filter(pa.array([sample_unit(i) < sample for i in ids], pa.bool_()))
