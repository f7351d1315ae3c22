"""Joins captions to samples while webdataset reads a set's own tars, so that no export is needed.

    import webdataset as wds
    from nucleus_data import join_captions

    data = wds.WebDataset(tars, shardshuffle=100).compose(join_captions("SET", "EDITION"))

A sample gets `txt`, its best caption (empty if it has none), and `captions.json`, all captions from
the lowest to the highest quality. Put the stage before any shuffle of samples: it reads the
captions of a tar once, at the tar's first sample. Objects of this class can be pickled for worker
processes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.layout import SetFolder


class join_captions:
    """A webdataset stage that joins the captions of an edition to samples.

    Args:
        folder: The set's folder or URL.
        edition: The edition's name, or 4 or more digits of its hash; None for the only one.
        storage_options: Options for fsspec.

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
        """Yields the samples with their captions.

        Raises:
            RequestError: The edition lacks a sample.
        """
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
