"""Caption editions: captions of a set's samples, beside each tar and in the tar's order.

    edition = folder.edition(None)          # the only one
    edition.captions("256/1x1/000000.tar")  # id, captions, caption_sources

New captions are a new edition, and no tar is touched. A sample may have none: an empty list.
"""

from collections.abc import Mapping

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import Beside, read

CAPTIONS, EDITION = "captions", "edition.json"
# Captions from the lowest to the highest quality; where each is from, as `web` (it came with the
# record), `synthesized:short`, `refined:short` or `imported:NAME`.
EDITION_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("caption_sources", pa.list_(pa.string())),
    ]
)


class Edition(Beside):
    """The captions of a set's samples.

    Args:
        store: The store that holds the set.
        path: `<set>/captions/<config hash>`.
    """

    def __init__(self, store: Store, path: str) -> None:
        super().__init__(store, path, EDITION)

    @property
    def name(self) -> str:
        """Its name for people: what `shard.captions` said when it was made."""
        return str(self.about["name"])

    @property
    def tables(self) -> list[str]:
        """The caption tables that it is made of, as `short@HASH` or `source`."""
        return list(self.about["tables"])

    @property
    def samples(self) -> int:
        """How many samples the set has, over all resolutions."""
        return int(self.about["samples"])

    @property
    def count(self) -> int:
        """How many captions they have in all."""
        return int(self.about["captions"])

    @property
    def without(self) -> int:
        """How many of the samples have no caption."""
        return int(self.about["without"])

    @property
    def mix(self) -> Mapping[str, int]:
        """How many captions are from where."""
        return dict(self.about["mix"])

    def captions(self, tar: str) -> pa.Table:
        """The captions of a tar's samples, in its order: `EDITION_SCHEMA`.

        Args:
            tar: The tar's path below the set.

        Raises:
            FileNotFoundError: The edition has nothing of that tar.
        """
        return read(self.store, self.file(tar), EDITION_SCHEMA)
