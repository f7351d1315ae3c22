"""Caption editions: captions of a set's samples, in files beside the tars, in the tars' order.

    edition = folder.edition(None)          # the only one
    edition.captions("256/1x1/000000.tar")  # id, captions, caption_sources

New captions become a new edition, without a change to any tar. A sample without captions has an
empty list.
"""

from collections.abc import Mapping

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.sets.beside import Beside, read

CAPTIONS, EDITION = "captions", "edition.json"
# `captions` are ordered from the lowest to the highest quality. `caption_sources` has the origin of
# each: `web` (it came with the record), `synthesized:short`, `refined:short` or `imported:NAME`.
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
        """Its name for people: the value of `shard.captions` when it was made."""
        return str(self.about["name"])

    @property
    def tables(self) -> list[str]:
        """The caption tables that it is made from, as `short@HASH` or `source`."""
        return list(self.about["tables"])

    @property
    def samples(self) -> int:
        """Number of samples of the set, over all resolutions."""
        return int(self.about["samples"])

    @property
    def count(self) -> int:
        """Number of captions of all samples."""
        return int(self.about["captions"])

    @property
    def without(self) -> int:
        """Number of samples without a caption."""
        return int(self.about["without"])

    @property
    def mix(self) -> Mapping[str, int]:
        """Source of a caption -> number of captions."""
        return dict(self.about["mix"])

    def captions(self, tar: str) -> pa.Table:
        """Reads the captions of a tar's samples.

        Args:
            tar: The tar's path below the set.

        Returns:
            One row per sample in the tar's order, of `EDITION_SCHEMA`.

        Raises:
            FileNotFoundError: The edition has no file for that tar.
            DamagedError: The file can't be read.
        """
        return read(self.store, self.file(tar), EDITION_SCHEMA)
