"""Several models: whose vectors are scored by what, and under which names."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.engines.calibration import Calibration
from nucleus_data.engines.heads import load_heads
from nucleus_data.stage import TableSpec
from nucleus_data.stages.embed.settings import EmbedSettings
from nucleus_data.stages.score.models import unit_vectors, vectors_of
from nucleus_data.stages.score.settings import ScoreSettings
from nucleus_data.stages.score.stage import MATCH, SCORES, Score
from tests.support.embedded import heads_folder
from tests.support.scored import unit

VECTOR = pa.list_(pa.float16())


def embed():
    """The stage with a model, and another one named `clip`; without what loads them."""
    specs = []
    for tail, revision in (("", "one"), (".clip", "two")):
        about = {"model": f"model{tail}", "revision": revision}
        specs += [TableSpec(f"embed.{k}{tail}", pa.schema([]), 1, about) for k in ("image", "text")]
    return SimpleNamespace(
        settings=EmbedSettings(model="some", models={"clip": {"model": "other"}}),
        tables=lambda: specs,
        missing=lambda: None,
    )


def vectors(seed, *missing):
    made = np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float16)
    column = pa.array([None if i in missing else v for i, v in enumerate(made)], VECTOR)
    return made, pa.chunked_array([column])


def test_each_model_has_its_columns_and_heads_find_theirs(tmp_path):
    heads_folder(tmp_path / "heads", revision="two")
    content = Calibration("model.clip", "two", (-1.0, 1.0), (0.0, 1.0)).content()
    settings = ScoreSettings(heads=str(tmp_path / "heads"), calibration={"clip": content})
    stage = Score(settings, embed())
    match, scores = stage.tables()
    assert match.schema.names == [
        "caption_cosine",
        "clip_caption_cosine",
        "clip_caption_similarity",
    ]
    assert match.needs == ("embed.image", "embed.text", "embed.image.clip", "embed.text.clip")
    assert scores.needs == scores.inputs == ("embed.image.clip",)
    stage.setup()
    # A changed head reads the vectors that it scores, and no others.
    scored = ("embed.image.clip:clip_image_embedding", "embed.image.clip:error")
    assert stage.reads(frozenset((SCORES,))) == scored
    assert set(stage.reads(frozenset((MATCH, SCORES)))) == set(stage.columns)
    one, images = vectors(1, 2)
    other, named = vectors(2, 1, 2)
    text, texts = vectors(3)
    errors = pa.chunked_array([pa.array([None, None, "corrupt"])])
    columns = pa.table(
        {
            "embed.image:image_embedding": images,
            "embed.image:error": errors,
            "embed.text:text_embedding": texts,
            "embed.image.clip:clip_image_embedding": named,
            "embed.image.clip:error": pa.chunked_array([pa.nulls(3)]),
            "embed.text.clip:clip_text_embedding": texts,
        }
    )
    assert set(columns.column_names) == set(stage.columns)
    made = stage.compute(columns, frozenset((MATCH, SCORES)))
    found = made[MATCH].to_pylist()
    # Of a picture that one model could not embed, the other's number stays.
    assert [row["caption_cosine"] is None for row in found] == [False, False, True]
    assert [row["clip_caption_cosine"] is None for row in found] == [False, True, True]
    assert [row["error"] for row in found] == [None, None, "corrupt"]
    expected = unit(other[0]) @ unit(text[0])
    assert found[0]["clip_caption_cosine"] == pytest.approx(expected, abs=1e-6)
    assert found[0]["clip_caption_similarity"] == pytest.approx((1 + expected) / 2, abs=1e-6)
    again = stage.compute(columns.select(scored), frozenset((SCORES,)))
    assert again[SCORES].equals(made[SCORES])
    heads = load_heads(tmp_path / "heads")
    assert made[SCORES].column("a")[0].as_py() == heads.scores(unit(other[0])[None])["a"][0]
    assert made[SCORES].column("error").to_pylist() == [None, "no_embedding", "no_embedding"]
    assert one.shape == other.shape


def test_vectors_of_a_column():
    made, column = vectors(1, 1)
    found, present = vectors_of(column)
    assert present.tolist() == [True, False, True]
    assert found.dtype == np.float32
    assert (found == made[[0, 2]].astype(np.float32)).all()
    sliced, there = unit_vectors(column.slice(1))
    assert there.tolist() == [False, True]
    assert (sliced[0] == unit(made[2])).all()
    nothing, there = vectors_of(pa.chunked_array([pa.nulls(2)]))
    assert len(nothing) == 0
    assert not there.any()
    with pytest.raises(ValueError, match="vectors of both 1 and 2 numbers"):
        vectors_of(pa.chunked_array([pa.array([[1.0], [1.0, 2.0]], VECTOR)]))


def test_a_row_s_scores_do_not_depend_on_the_rows_beside_it(tmp_path):
    heads_folder(tmp_path / "heads", width=64, revision="one")
    stage = Score(ScoreSettings(heads=(str(tmp_path / "heads"),)), embed())
    stage.setup()
    rng = np.random.default_rng(5)

    def some(count):
        made = rng.standard_normal((count, 64)).astype(np.float16)
        return pa.chunked_array([pa.array(list(made), VECTOR)])

    columns = pa.table(
        {
            path: pa.chunked_array([pa.nulls(300)]) if path.endswith("error") else some(300)
            for path in stage.columns
        }
    )
    wanted = frozenset((MATCH, SCORES))
    whole = stage.compute(columns, wanted)
    for row in range(0, 300, 37):
        alone = stage.compute(columns.slice(row, 1), wanted)
        for name, table in whole.items():
            assert alone[name].to_pylist() == table.slice(row, 1).to_pylist()
