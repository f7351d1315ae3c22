"""Index columns: scores, quality tier and curriculum bucket of a set's samples, beside each tar.

    folder.columns(None).values("256/1x1/000000.tar")   # id, tier, curriculum, scores by their name

New scores are new columns, and no tar is touched.
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
        """The columns, without `id`."""
        return list(self.about["names"])

    def values(self, tar: str) -> pa.Table:
        """The columns of a tar's samples, in its order: `id`, `tier`, `curriculum`, and the scores.

        Args:
            tar: The tar's path below the set.

        Raises:
            FileNotFoundError: There are none of that tar.
        """
        return read(self.store, self.file(tar))
