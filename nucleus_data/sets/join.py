"""Captions joined to pictures while webdataset reads a set's own tars: nothing is exported.

    import webdataset as wds
    from nucleus_data import join_captions

    data = wds.WebDataset(tars, shardshuffle=100).compose(join_captions("SET", "EDITION"))

A sample gets `txt`, the best caption (empty where there is none), and `captions.json`, all of them,
lowest to highest quality. It stands before any shuffle of samples, as the captions of a tar are
read once, when its first sample comes. An object of this class goes into worker processes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.layout import SetFolder


class join_captions:
    """A stage of webdataset: joins the captions of an edition.

    Args:
        folder: The set's folder or URL.
        edition: Its name or 4 or more digits of its hash; None for the only one.
        storage_options: For fsspec.

    Raises:
        RequestError: There is no such edition.
    """

    def __init__(
        self,
        folder: str,
        edition: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.edition = SetFolder(Store(folder, storage_options)).edition(edition)

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Samples with their captions."""
        tar, captions = "", {}
        for sample in samples:
            if sample["__url__"] != tar:
                tar = sample["__url__"]
                rows = self.edition.captions("/".join(tar.split("/")[-3:]))
                captions = dict(
                    zip(*(rows[n].to_pylist() for n in ("id", "captions")), strict=True)
                )
            if sample["__key__"] not in captions:
                raise RequestError(f"{tar}: {sample['__key__']} is not in {self.edition.path}")
            texts = captions[sample["__key__"]]
            best = texts[-1] if texts else ""
            yield {**sample, "txt": best.encode(), "captions.json": json.dumps(texts).encode()}
