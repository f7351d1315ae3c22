"""The stage `score`: computes scores from stored vectors, without reading pictures.

It writes up to three tables for all models of `embed`. Columns of a named model begin with its name
(`clip_caption_cosine`):

- `embed.match`: `caption_cosine`, the cosine of the picture and its source caption; and, if the
  model has a calibration, `caption_similarity`, the probability that they belong together.
- `embed.heads`: one number for each head in the configured folders (aesthetics, safety, ...).
- `embed.tags`: `tag_NAME`, the cosine of the picture and a tag's text; and `tag`, the name of the
  nearest tag (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
  Supervision", section 3.1: the argmax over tags of cos(image, text); their softmax does not change
  the order).

A row is scored once its vectors are stored, so scoring a corpus with other heads takes minutes.

    nucleus score CORPUS score.heads=[nano,FOLDER] score.tags='{photo: a photograph}'
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.engines.calibration import Calibration, calibration_of, load_calibration
from nucleus_data.engines.embedder import Vectors
from nucleus_data.engines.find import HEADS, resolve_model
from nucleus_data.engines.heads import Heads, load_heads
from nucleus_data.errors import RequestError
from nucleus_data.stage import ColumnStage, TableSpec
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.score.models import (
    Space,
    cosines,
    references,
    spaces_of,
    spread,
    text_tower,
    unit_vectors,
    vectors_of,
)
from nucleus_data.stages.score.settings import ScoreSettings

MATCH, SCORES, TAGS = "embed.match", "embed.heads", "embed.tags"
COSINE, SIMILARITY, TAG = "caption_cosine", "caption_similarity", "tag"
NO_VECTOR = "no_embedding"


class Score(ColumnStage[ScoreSettings]):
    """Scores embedded records.

    Args:
        settings: Heads, tags and calibrations.
        embed: The stage whose vectors are scored.
    """

    name = "score"
    help = "Score stored embeddings: heads, tags, caption similarity."
    Settings = ScoreSettings
    faces = ("embed",)
    optional = True
    readable = True
    chooses = "kept"

    def __init__(self, settings: ScoreSettings, embed: Embed) -> None:
        super().__init__(settings)
        self.embed = embed
        self._spaces = spaces_of(embed)
        self.columns = tuple(
            column
            for space in self._spaces
            for column in (space.vectors("image"), space.error, space.vectors("text"))
        )
        self._specs: list[TableSpec] | None = None
        self._calibrations: dict[str, Calibration] = {}
        self._heads: list[tuple[Space, Heads]] = []
        self._tags: dict[str, Vectors] = {}

    def missing(self) -> str | None:
        """Returns a message if no embedding model is set."""
        return self.embed.missing()

    def tables(self) -> Sequence[TableSpec]:
        """Returns the tables; none without a model.

        Raises:
            RequestError: Heads or a calibration can't be read, or do not belong to a model of
                `embed`.
        """
        if self._specs is None:  # cached, as it is requested for each shard
            self._specs = [*self._all_tables()] if self._spaces else []
        return self._specs

    def calibrations(self) -> Mapping[str, Calibration]:
        """Returns the calibrations, by the model's name for people (`Space.shown`)."""
        self.tables()
        return self._calibrations

    def _all_tables(self) -> Sequence[TableSpec]:
        known = references(self.embed)
        self._calibrations = self._read_calibrations(known)
        images = tuple(space.table("image") for space in self._spaces)
        both = tuple(space.table(kind) for space in self._spaces for kind in ("image", "text"))
        calibrations = {name: c.content() for name, c in sorted(self._calibrations.items())}
        settings = {"calibration": calibrations} if calibrations else {}
        specs = [TableSpec(MATCH, self._match_schema(), 1, settings, both, both)]
        if self.settings.heads:
            revisions, found = self._read_heads(known)
            schema = pa.schema([(name, pa.float32()) for _, h in found for name in h.heads])
            used = tuple(dict.fromkeys(space.table("image") for space, _ in found))
            # Version 2 scores vectors in blocks; version 1 scored each alone, with other bits.
            specs.append(TableSpec(SCORES, schema, 2, {"heads": revisions}, used, used))
        if self.settings.tags:
            tags = [[name, text] for name, text in self.settings.tags.items()]
            specs.append(TableSpec(TAGS, self._tag_schema(), 1, {"tags": tags}, images, images))
        return specs

    def setup(self) -> None:
        """Loads the heads, and embeds the texts of the tags."""
        self.tables()  # reads the calibrations
        if self.settings.heads:
            _, self._heads = self._read_heads(references(self.embed))
        if self.settings.tags:
            texts = list(self.settings.tags.values())
            for space in self._spaces:
                # On the CPU, as this stage's tasks have no GPU.
                self._tags[space.name] = text_tower(self.embed, space, here=True).texts(texts)

    def reads(self, wanted: frozenset[str]) -> Sequence[str]:
        """Returns the columns with the vectors of pictures and, for `embed.match`, of captions."""
        whole = not wanted.isdisjoint((MATCH, TAGS))
        scored = self._spaces if whole else tuple(dict.fromkeys(s for s, _ in self._heads))
        texts = [space.vectors("text") for space in self._spaces if MATCH in wanted]
        images = [column for s in scored for column in (s.vectors("image"), s.error)]
        return (*images, *texts)

    def compute(self, columns: pa.Table, wanted: frozenset[str]) -> Mapping[str, pa.Table]:
        """Computes the columns of the wanted tables."""
        images = {
            space.name: unit_vectors(columns.column(space.vectors("image")))
            for space in self._spaces
            if space.vectors("image") in columns.column_names
        }
        made = {}
        if MATCH in wanted:
            values: dict[str, pa.Array] = {}
            for space in self._spaces:
                values |= self._match(space, *images[space.name], columns)
            made[MATCH] = _with_errors(values, columns, self._spaces)
        if SCORES in wanted:
            values = {}
            for space, heads in self._heads:
                vectors, present = images[space.name]
                scores = heads.scores(vectors) if len(vectors) else dict.fromkeys(heads.heads)
                for name, score in scores.items():
                    empty = np.zeros(0, np.float32)
                    values[name] = spread(empty if score is None else score, present)
            made[SCORES] = _with_errors(values, columns, [space for space, _ in self._heads])
        if TAGS in wanted:
            values = {}
            for space in self._spaces:
                values |= self._tagged(space, *images[space.name])
            made[TAGS] = _with_errors(values, columns, self._spaces)
        return made

    def _match_schema(self) -> pa.Schema:
        names = []
        for space in self._spaces:
            names.append(f"{space.prefix}{COSINE}")
            if space.shown in self._calibrations:
                names.append(f"{space.prefix}{SIMILARITY}")
        return pa.schema([(name, pa.float32()) for name in names])

    def _match(
        self, space: Space, images: Vectors, present: Any, columns: pa.Table
    ) -> dict[str, pa.Array]:
        """Computes the cosines of pictures and captions, and their calibrated probabilities."""
        texts, captioned = vectors_of(columns.column(space.vectors("text")))
        both = present & captioned
        one = images[(np.cumsum(present) - 1)[both]]
        other = texts[(np.cumsum(captioned) - 1)[both]]
        raw = cosines(one, other) if len(one) else np.zeros(0, np.float32)
        values = {f"{space.prefix}{COSINE}": spread(raw, both)}
        if (calibration := self._calibrations.get(space.shown)) is not None:
            values[f"{space.prefix}{SIMILARITY}"] = spread(calibration.apply(raw), both)
        return values

    def _tag_schema(self) -> pa.Schema:
        fields: list[tuple[str, pa.DataType]] = []
        for space in self._spaces:
            names = [f"{space.prefix}{TAG}_{name}" for name in self.settings.tags]
            fields += [(name, pa.float32()) for name in names]
            fields.append((f"{space.prefix}{TAG}", pa.string()))
        return pa.schema(fields)

    def _tagged(self, space: Space, images: Vectors, present: Any) -> dict[str, pa.Array]:
        """Computes the cosines of pictures and tags' texts, and the nearest tag."""
        names = list(self.settings.tags)
        near = np.zeros((len(names), len(images)), np.float32)
        for place, text in enumerate(self._tags[space.name]):
            if len(images):
                near[place] = np.vecdot(images, text)
        values = {
            f"{space.prefix}{TAG}_{name}": spread(cosine, present)
            for name, cosine in zip(names, near, strict=True)
        }
        nearest = spread(near.argmax(axis=0).astype(np.int32), present)
        values[f"{space.prefix}{TAG}"] = pa.array(names).take(nearest)
        return values

    def _read_heads(
        self, known: Mapping[str, tuple[str, str]]
    ) -> tuple[list[str], list[tuple[Space, Heads]]]:
        """Reads the heads.

        Returns:
            The content revision of each folder; and its heads with the vectors that they score.

        Raises:
            RequestError: Heads were trained on none of the models, or two heads have the same name.
        """
        revisions: list[str] = []
        found: list[tuple[Space, Heads]] = []
        taken: dict[str, str] = {}
        for folder in self.settings.heads:
            reference = resolve_model(folder, None, HEADS)
            heads = load_heads(reference.location)
            fitting = [s for s in self._spaces if known[s.name][1] == heads.revision]
            if not fitting:
                raise RequestError(
                    f"score.heads: those of {folder!r} were trained on the embeddings of "
                    f"{heads.model!r}, revision {heads.revision!r}, but embed has "
                    f"{_models(self._spaces, known)}. Their scores would be meaningless: train "
                    "heads on a model that embed has, or leave these out (score.heads=null)"
                )
            for name in heads.heads:
                if name in taken:
                    raise RequestError(
                        f"score.heads: {taken[name]!r} and {folder!r} both have a head {name!r}, "
                        "but each needs its own column; rename one (in its tensors and in "
                        "heads.json)"
                    )
                taken[name] = folder
            revisions.append(reference.revision)
            found.append((fitting[0], heads))
        return revisions, found

    def _read_calibrations(self, known: Mapping[str, tuple[str, str]]) -> dict[str, Calibration]:
        """Reads the calibrations, by the model's name for people.

        Raises:
            RequestError: A calibration is invalid, or belongs to another model.
        """
        found = {}
        spaces = {space.shown: space for space in self._spaces}
        for name, given in self.settings.calibration.items():
            key = f"score.calibration.{name}"
            if name not in spaces:
                raise RequestError(
                    f"{key}: embed has no such model; available: {', '.join(spaces)}"
                )
            read = load_calibration(given) if isinstance(given, str) else calibration_of(given, key)
            model, revision = known[spaces[name].name]
            if read.revision != revision:
                raise RequestError(
                    f"{key} was fitted on cosines of {read.model!r}, revision {read.revision!r}, "
                    f"but the model is {model!r}, revision {revision!r}: run nucleus calibrate on "
                    "it"
                )
            found[name] = read
        return found


def _with_errors(
    values: Mapping[str, pa.Array], columns: pa.Table, spaces: Sequence[Space]
) -> pa.Table:
    """Adds the column `error`, with the reason if no model has a vector of the picture."""
    lacks = [pc.is_null(columns.column(space.vectors("image"))) for space in spaces]
    lacking = lacks[0]
    for other in lacks[1:]:
        lacking = pc.and_(lacking, other)
    reasons = [columns.column(space.error).cast(pa.string()) for space in spaces]
    reason = pc.coalesce(*reasons, pa.scalar(NO_VECTOR))
    error = pc.if_else(lacking, reason, pa.scalar(None, pa.string()))
    return pa.table({**values, "error": error})


def _models(spaces: Sequence[Space], known: Mapping[str, tuple[str, str]]) -> str:
    shown = (f"{known[s.name][0]!r}, revision {known[s.name][1]!r}" for s in spaces)
    return "; ".join(shown)
