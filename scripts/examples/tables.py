"""What a corpus's tables say, asked in SQL: DuckDB relations over plain Parquet.

python scripts/examples/tables.py CORPUS
"""

import sys

from nucleus_data import Corpus


def main(uri: str) -> None:
    """Prints states, reasons, and the softest pictures that were kept."""
    corpus = Corpus(uri)
    selection = corpus.table("selection")  # as the newest run pinned it
    selection.aggregate("state, count(*) AS records").order("state").show()
    rejected = selection.filter("state = 'rejected'").project("unnest(reasons) AS reason")
    rejected.aggregate("reason, count(*) AS records").order("records DESC, reason").show()
    # `inspect` joins the tables of all groups of signals, a row a record.
    kept = selection.filter("state = 'kept'").project("shard, row")
    measured = corpus.table("inspect").set_alias("i").join(kept.set_alias("k"), "shard, row")
    measured.project("id, width, height, laplacian_variance").order("4, 1").limit(5).show()


if __name__ == "__main__":
    main(sys.argv[1])
