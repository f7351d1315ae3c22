"""Computes text states of all distinct captions of an edition: tasks of the stage `encode`.

| phase | one task | reads | writes, below `texts/` |
|---|---|---|---|
| gather | a group of tars | their captions | `_work/`: their distinct texts, by part |
| states | a part of all texts, by hash | its part of each file in `_work/` | a file of states |
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.dealing import READS_AT_ONCE, collect, deal
from nucleus_data.runner.work import Summary
from nucleus_data.sets.encoded import (
    WORK,
    Value,
    encode_values,
    part_name,
    part_of,
    text_key,
    texts_folder,
)
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.encode.latents import write
from nucleus_model.settings.settings import QuickTrainSettings

TARS_A_GROUP = 64
TEXTS_A_PART = 1024  # with a large encoder, the states of a text have up to a megabyte
SCHEMA = pa.schema([("text", pa.string())])


@dataclass(frozen=True)
class Texts:
    """The location of an edition's texts and of their states.

    Attributes:
        uri: URI of the corpus.
        storage_options: Options for fsspec.
        folder: Folder of the training set in the corpus.
        edition: Config hash of the edition.
        hashed: Config hash of the states.
        parts: Number of files of states.
        groups: Number of groups of tars.
    """

    uri: str
    storage_options: Mapping[str, Any]
    folder: str
    edition: str
    hashed: str
    parts: int
    groups: int

    def set_folder(self) -> SetFolder:
        """Returns the training set."""
        return SetFolder(Corpus(self.uri, self.storage_options).store, self.folder)

    def name(self, file: str) -> str:
        """Returns the path, relative to the corpus, of a file of states or of `_work/`."""
        return f"{self.folder}/{texts_folder(self.hashed)}/{file}"


@dataclass(frozen=True)
class GatherTask:
    """Gathers the distinct texts of a group of tars (a task of the runner).

    Attributes:
        texts: The edition's texts.
    """

    texts: Texts

    def run(self, number: int) -> Summary:
        """Gathers the texts of group `number`, unless that is already done."""
        texts, folder = self.texts, self.texts.set_folder()
        name = texts.name(f"{WORK}/{number:06d}")
        if folder.store.exists(name):
            return Summary()
        edition = folder.edition(texts.edition)
        first = number * TARS_A_GROUP

        def texts_of_tar(path: str) -> pa.Array:
            column = edition.captions(path).column("captions")
            return pc.unique(pc.list_flatten(column)).drop_null()

        paths = [entry.path for entry in folder.manifest()[first : first + TARS_A_GROUP]]
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            found = sorted(
                {text for column in pool.map(texts_of_tar, paths) for text in column.to_pylist()}
            )
        parts = np.array([part_of(text_key(text), texts.parts) for text in found], np.int64)
        deal(folder.store, name, pa.table([found], schema=SCHEMA), parts, texts.parts)
        return Summary()


@dataclass(frozen=True)
class StatesTask:
    """Encodes a part of all texts (a model task of the runner).

    Attributes:
        texts: The edition's texts.
        settings: Settings of the training, which name the text encoder.
        dtype: Precision of the stored numbers.
    """

    texts: Texts
    settings: QuickTrainSettings
    dtype: str

    def setup(self) -> None:
        """Loads the text encoder, once per worker."""
        from nucleus_data.stages.encode.models import text_encoder_of

        text_encoder_of(self.settings)

    def run(self, number: int) -> Summary:
        """Encodes the texts of part `number`, unless that is already done."""
        texts, store = self.texts, self.texts.set_folder().store
        name = texts.name(part_name(number))
        if store.exists(name):
            return Summary()
        names = [texts.name(f"{WORK}/{n:06d}") for n in range(texts.groups)]
        rows = collect(store, names, number, texts.parts, SCHEMA)
        found = {text_key(text): text for text in rows.column("text").to_pylist()}
        empty = text_key("")  # the empty text stands for dropped captions
        if part_of(empty, texts.parts) == number:
            found[empty] = ""
        from nucleus_data.stages.encode.models import as_bytes, encoding, text_encoder_of

        encoder, values = text_encoder_of(self.settings), {}
        with encoding(self.settings):
            for key, text in found.items():
                before = encoder.cut
                states = encoder.states(text)
                data, cut = as_bytes(states, self.dtype), encoder.cut > before
                values[key] = Value(data, tuple(states.shape), cut)
        content = encode_values(values, (encoder.width,), self.dtype, texts=True)
        write(store, name, content)
        return Summary(rows=len(values), done=len(values), bytes=len(content))
