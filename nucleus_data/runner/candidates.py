"""Finds the records of a shard that a row stage works on, and the rows that its tables lack."""

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
    """Returns the shard's records with an image that a stage works on, sorted by row.

    Args:
        corpus: The corpus.
        shard: The shard's number.
        selection: The selection, for a stage that works on kept and pending records only.
        sample: Share of the records.

    Raises:
        CorpusError: The shard has no records.
        RequestError: The selection has no rows of the shard.
    """
    records = corpus.records.read(shard, RECORD_COLUMNS)
    if records is None:
        raise CorpusError(f"shard {shard} has no records")
    chosen = records.filter(pc.is_null(records.column("error")))
    if selection is not None:
        states = selection.read(shard, ["row", "state"])
        if states is None:
            raise RequestError(
                f"the selection has no rows for shard {shard}; run: {told('select', corpus.uri)}"
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
    """Returns the due rows that a table lacks; for a retry, those with retryable failures.

    Args:
        corpus: The corpus.
        target: The table.
        shard: The shard's number.
        due: The rows that the table should have.
        retry: Whether to return retryable failures only.
        repeated: Reasons that a retry leaves out.
    """
    if retry:
        return np.intersect1d(due, passing_rows(target, shard, repeated))
    failed = corpus.failed_rows(target, shard)
    # Retryable failures count as done until `nucleus retry`, so that running a command again does
    # not kill another worker with the same image.
    return np.setdiff1d(due, np.union1d(target.covered(shard), failed))


def passing_rows(
    target: Table, shard: int, repeated: Collection[str] = (), *, those: bool = False
) -> np.ndarray:
    """Returns rows with a retryable failure, and no value since.

    Args:
        target: The table.
        shard: The shard's number.
        repeated: Reasons to leave out.
        those: Whether to return only the rows with the reasons in `repeated` instead.
    """
    failed = target.failed.read(shard, ["row", "reason"])
    if failed is None:
        return np.empty(0, np.int64)
    again = pc.is_in(failed.column("reason"), pa.array(sorted(repeated), pa.string()))
    failed = failed.filter(again if those else pc.invert(again))
    return np.setdiff1d(failed.column("row").to_numpy(), target.covered(shard))


def sample_rows(rows: pa.Table, sample: float) -> pa.Table:
    """Returns the rows whose keyed hash of `id` is below `sample`, the same ones in every run."""
    if sample >= 1.0:
        return rows
    ids = rows.column("id").to_pylist()
    return rows.filter(pa.array([sample_unit(i) < sample for i in ids], pa.bool_()))
