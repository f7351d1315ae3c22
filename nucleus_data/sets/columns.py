"""Index columns: scores, quality tier and curriculum bucket of a set's samples, beside each tar.

    folder.columns(None).values("256/1x1/000000.tar")   # id, tier, curriculum, scores by their name

New scores become new columns, without a change to any tar.
"""

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import Beside, read

COLUMNS, ABOUT = "columns", "columns.json"
PLACED = ("tier", "curriculum")


class Columns(Beside):
    """Index columns of a set's samples.

    Args:
        store: The store that holds the set.
        path: `<set>/columns/<config hash>`.
    """

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(store, path, ABOUT)

    @property
    def tables(self) -> dict[str, str]:
        """Table -> config hash, of all tables that the columns are from."""
        return dict(self.about["tables"])

    @property
    def names(self) -> list[str]:
        """Names of the columns, without `id`."""
        return list(self.about["names"])

    def values(self, tar: str) -> pa.Table:
        """Reads the columns of a tar's samples: `id`, `tier`, `curriculum`, and the scores.

        Args:
            tar: The tar's path below the set.

        Returns:
            One row per sample, in the tar's order.

        Raises:
            FileNotFoundError: There is no file for that tar.
            DamagedError: The file can't be read.
        """
        return read(self.store, self.file(tar))
