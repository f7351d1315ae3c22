"""The stage `score_captions`: computes the similarity of generated captions and their pictures.

It follows `caption`, and is skipped unless `score_captions.variants` names variants. Each variant
has two tables. `embed.caption.VARIANT` has the captions' vectors, from the text towers of all
models of `embed`. `embed.match.VARIANT` has their cosine with the picture's stored vector,
`VARIANT_cosine`, and its calibrated probability, `VARIANT_similarity`, if the model has a
calibration. Each pair of variants, in alphabetical order, has a table `embed.agree.ONE.OTHER` with
the cosine of their captions' vectors, `ONE_vs_OTHER_cosine`. Columns of a named model begin with
its name. Pictures are not read. Captions that are generated again are scored again.

    nucleus score-captions CORPUS score_captions.variants=[short,long]
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.corpus.caption_sets import AT, PREFIX, SOURCE, check_names, find_sets
from nucleus_data.corpus.tables import plain
from nucleus_data.errors import RequestError
from nucleus_data.stage import Result, Row, RowFailure, RowStage, Stage, TableSpec
from nucleus_data.stages.embed.stage import Embed
from nucleus_data.stages.score.models import (
    Space,
    cosines,
    lengths_of,
    spaces_of,
    text_tower,
    unit_vectors,
)
from nucleus_data.stages.score.stage import NO_VECTOR, Score

VECTOR = pa.list_(pa.float16())
HELD = 64
NO_CAPTION = "no_caption"
WHERE = "score_captions.variants"


class ScoreCaptionsSettings(BaseModel):
    """Settings of the stage score_captions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: tuple[str, ...] = Field(
        default=(),
        description="Captions to score: names of caption.variants, imports, or older tables as "
        "VARIANT@HASH (`nucleus captions list`); empty: no generated captions.",
    )


class ScoreCaptions(RowStage[ScoreCaptionsSettings]):
    """Scores generated captions against their pictures.

    Args:
        settings: The variants.
        embed: The stage whose models and vectors are used.
        score: The stage whose calibrations are used.
        caption: The stage that generated the captions.
    """

    name = "score_captions"
    help = "Score generated captions against their pictures."
    resources: ClassVar = {"actors": 1}
    Settings = ScoreCaptionsSettings
    faces = ("embed", "score", "caption")
    optional = True
    readable = True
    reads_images = False
    chooses = "kept"

    def __init__(
        self, settings: ScoreCaptionsSettings, embed: Embed, score: Score, caption: Stage[Any]
    ) -> None:
        super().__init__(settings)
        self.embed, self.score, self.caption = embed, score, caption
        self._spaces = spaces_of(embed)
        self._towers: dict[str, Any] = {}
        variants = settings.variants
        own = [f"caption.{v}:{column}" for v in variants for column in ("caption", "error")]
        stored = [
            f"embed.caption.{v}:{_vector(space, v)}" for v in variants for space in self._spaces
        ]
        images = [c for space in self._spaces for c in (space.vectors("image"), space.error)]
        self.columns = (*own, *stored, *images)

    def find_inputs(self, corpus: Any, tables: Mapping[str, str]) -> Mapping[str, str]:
        """Finds older and imported captions; RequestError if they do not exist."""
        given = self.settings.variants
        known = getattr(self.caption.settings, "variants", {})
        if SOURCE in given:
            raise RequestError(f"{WHERE} contains {SOURCE!r}, which the stage score handles")
        if corpus is None:
            check_names([v for v in given if AT in v], list(known), WHERE)
            return {}
        current = {v: tables[f"{PREFIX}{v}"] for v in known if given}
        sets = find_sets(corpus.store, given, current, WHERE)
        return {PREFIX + v: one.config_hash for v, one in zip(given, sets, strict=True)}

    def missing(self) -> str | None:
        """Returns a message if no variants or no embedding model are set."""
        if not self.settings.variants:
            return "score_captions.variants is not set; set it to names of caption.variants"
        return self.embed.missing()

    def tables(self) -> Sequence[TableSpec]:
        """Returns the two tables of each variant, and one of each pair."""
        if self.missing():
            return []
        models = {spec.name: dict(spec.settings) for spec in self.embed.tables()}
        towers = {s.shown: models[s.table("text")] for s in self._spaces}
        images = tuple(space.table("image") for space in self._spaces)
        calibrations = {n: c.content() for n, c in sorted(self.score.calibrations().items())}
        settings = {"calibration": calibrations} if calibrations else {}
        specs = []
        for v in self.settings.variants:
            made, vectors = f"caption.{v}", f"embed.caption.{v}"
            schema = pa.schema([(_vector(space, v), VECTOR) for space in self._spaces])
            specs.append(TableSpec(vectors, schema, 1, {"models": towers}, (made,), (made,)))
            names = [name for space in self._spaces for name in self._names(space, v)]
            schema = pa.schema([(name, pa.float32()) for name in names])
            inputs, needs = (*images, vectors), (*images, made)
            specs.append(TableSpec(f"embed.match.{v}", schema, 1, settings, inputs, needs))
        for pair in self._pairs:
            schema = pa.schema([(_agreement(space, *pair), pa.float32()) for space in self._spaces])
            inputs = tuple(f"embed.caption.{v}" for v in pair)
            needs = tuple(f"caption.{v}" for v in pair)
            specs.append(TableSpec(agreement_table(*pair), schema, 1, {}, inputs, needs))
        return specs

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        # Older tables are compared by `nucleus captions diff`.
        return [*combinations(sorted(v for v in self.settings.variants if AT not in v), 2)]

    def process(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Embeds captions in batches; yields the rows that it holds when it receives None."""
        held: list[Row] = []
        for row in rows:
            if row is not None:
                held.append(row)
            if row is None or len(held) >= HELD:
                yield from self._scored(held)
                held = []
        yield from self._scored(held)

    def _scored(self, rows: Sequence[Row]) -> Iterator[Result]:
        vectors = {v: self._vectors(rows, v) for v in self.settings.variants}
        for row in rows:
            values: dict[str, Mapping[str, Any]] = {}
            for v, of_rows in vectors.items():
                own = of_rows.get(row)
                values[f"embed.caption.{v}"] = own or {"error": NO_CAPTION}
                values[f"embed.match.{v}"] = self._match(row, v, own)
            for pair in self._pairs:
                if (name := agreement_table(*pair)) in row.wanted:
                    values[name] = self._agreement(pair, [vectors[v].get(row) for v in pair])
            yield Result(row, values)

    def _vectors(self, rows: Sequence[Row], v: str) -> dict[Row, dict[str, Any]]:
        """Returns the vectors of the rows' captions, by column; stored ones are reused."""
        table = f"embed.caption.{v}"
        found: dict[Row, dict[str, Any]] = {}
        for row in rows:
            names = [_vector(space, v) for space in self._spaces]
            stored = {name: row.columns.get(f"{table}:{name}") for name in names}
            if table not in row.wanted and all(vector is not None for vector in stored.values()):
                found[row] = stored
        texts = {
            row: text
            for row in rows
            if table in row.wanted
            and (text := (row.columns.get(f"caption.{v}:caption") or "").strip())
        }
        for space in self._spaces if texts else ():
            made = self._tower(space).texts(list(texts.values())).astype(np.float16)
            for row, vector in zip(texts, made, strict=True):
                found.setdefault(row, {})[_vector(space, v)] = vector
        return found

    def _match(self, row: Row, v: str, vectors: Mapping[str, Any] | None) -> dict[str, Any]:
        """Returns a caption's cosine and similarity for each model, or the error."""
        if vectors is None:
            return {"error": NO_CAPTION}
        values: dict[str, Any] = {}
        for space in self._spaces:
            image = row.columns.get(space.vectors("image"))
            if image is None:
                continue
            one, _ = unit_vectors(pa.chunked_array([pa.array([image], VECTOR)]))
            raw = cosines(one, vectors[_vector(space, v)].astype(np.float32)[None])
            cosine, *calibrated = self._names(space, v)
            values[cosine] = float(raw[0])
            for name in calibrated:
                values[name] = float(self.score.calibrations()[space.shown].apply(raw)[0])
        reasons = (row.columns.get(space.error) for space in self._spaces)
        return values or {"error": next((r for r in reasons if r), NO_VECTOR)}

    def _agreement(
        self, pair: tuple[str, str], found: Sequence[Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """Returns the cosine of two variants' vectors for each model, or the error."""
        one, other = found
        if one is None or other is None:
            return {"error": NO_CAPTION}
        values = {}
        for space in self._spaces:
            vectors = [of[_vector(space, v)] for of, v in zip((one, other), pair, strict=True)]
            first, second = (np.asarray(vector, np.float32)[None] for vector in vectors)
            values[_agreement(space, *pair)] = float(cosines(first / lengths_of(first), second)[0])
        return values

    def _names(self, space: Space, v: str) -> list[str]:
        """Returns a model's columns: the cosine and, with a calibration, the similarity."""
        calibrated = space.shown in self.score.calibrations()
        name = f"{space.prefix}{plain(v)}"
        return [f"{name}_cosine", *[f"{name}_similarity"] * calibrated]

    def _tower(self, space: Space) -> Any:
        """Returns a model, which is loaded for its first caption."""
        if space.name not in self._towers:
            self._towers[space.name] = text_tower(self.embed, space)
        return self._towers[space.name]


def agreement_table(one: str, other: str) -> str:
    """Returns the name of the table with the similarity of two variants' captions."""
    return f"embed.agree.{one}.{other}"


def agreement_column(one: str, other: str) -> str:
    """Returns the name of its column for the model of `embed.model`."""
    return f"{plain(one)}_vs_{plain(other)}_cosine"


def _agreement(space: Space, one: str, other: str) -> str:
    return f"{space.prefix}{agreement_column(one, other)}"


def _vector(space: Space, variant: str) -> str:
    return f"{space.prefix}{plain(variant)}_embedding"
